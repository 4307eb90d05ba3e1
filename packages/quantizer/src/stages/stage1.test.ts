// Stage 1 on small models: what each part of it is for, resuming, and what it refuses.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createWasmBackend } from '@duobit/core';
import {
  createMemorySink,
  createMemorySource,
  decodeLayerWeights,
  openContainer,
  validateContainer,
} from '@duobit/format';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FitOptions, QuantizeOptions } from '../options.ts';
import { quantize } from '../quantize.ts';
import { makeMemoryCheckpoint, SMALL_ARCHITECTURE } from '../testing/memory-checkpoint.ts';

const TINY_STORIES = new URL('../../../../fixtures/tinystories-656k/', import.meta.url);
const TEXT = Array.from(
  { length: 40 },
  (_, i) => `Once upon a time there were ${i} cats who liked to play with ${i * i} balls in the garden.`,
);

let assets: Parameters<typeof makeMemoryCheckpoint>[1];
let folder: string;
beforeAll(async () => {
  const read = async (name: string) => new Uint8Array(await readFile(new URL(name, TINY_STORIES)));
  assets = {
    tokenizer: await read('tokenizer.json'),
    'tokenizer-config': await read('tokenizer_config.json'),
  };
  folder = await mkdtemp(join(tmpdir(), 'duobit-stage1-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function makeCheckpoint() {
  return makeMemoryCheckpoint({ ...SMALL_ARCHITECTURE, vocabularySize: 2048, contextLength: 128 }, assets);
}

async function run(options: QuantizeOptions = {}, checkpoint = makeCheckpoint()) {
  const sink = createMemorySink();
  const report = await quantize(checkpoint, join(folder, 'memory.duo'), {
    calibration: { text: TEXT, context: 64, maxWindows: 8 },
    groupSize: 32,
    workFolder: null,
    ...options,
    openSink: async () => sink,
  });
  return { report, bytes: sink.bytes() };
}

const errorWith = async (fit: Partial<FitOptions>) => (await run({ fit })).report.relativeErrorLinear;

describe('stage 1', () => {
  it('errs less on the outputs of the layers with each of its parts', async () => {
    const none = { propagate: false, importance: 'uniform', turns: 0, correction: 0 } as const;
    const plain = await errorWith(none);
    const propagated = await errorWith({ ...none, propagate: true, importance: 'inverse' });
    const turned = await errorWith({ ...none, propagate: true, importance: 'inverse', turns: 4 });
    expect(plain).toBeGreaterThan(0);
    expect(propagated).toBeLessThan(plain);
    expect(turned).toBeLessThan(propagated);
  });

  it('gives the same bytes again, and on two threads', async () => {
    const first = await run();
    const second = await run();
    const backend = await createWasmBackend({ threads: 2 });
    const third = await run({ backend });
    await backend.dispose();
    expect(Buffer.compare(first.bytes, second.bytes)).toBe(0);
    expect(Buffer.compare(first.bytes, third.bytes)).toBe(0);
  });

  it('knows other windows as other windows', async () => {
    const calibration = { text: TEXT, context: 64, maxWindows: 4 };
    const even = await run({ calibration });
    const drawn = await run({ calibration: { ...calibration, seed: 7 } });
    const again = await run({ calibration: { ...calibration, seed: 7 } });
    expect(drawn.report.calibrationTokens).toBe(256);
    expect(drawn.report.headerSha256).not.toBe(even.report.headerSha256);
    expect(drawn.report.headerSha256).toBe(again.report.headerSha256);
  });

  it.each<Partial<FitOptions>>([
    { fit: 'em' },
    { pairing: 'halves' },
    { importance: 'diagonal' },
    { propagate: false },
    { damping: 0 },
  ])('works with %j', async (fit) => {
    expect((await run({ fit })).report.relativeErrorLinear).toBeLessThan(0.2);
  });

  it('improves symmetric levels in turns too', async () => {
    const first = await run({ offsets: false, fit: { turns: 0 } });
    const turned = await run({ offsets: false });
    expect(turned.report.relativeErrorLinear).toBeLessThan(first.report.relativeErrorLinear);
  });

  it.each(['inputs', 'none'] as const)('keeps outlier columns in 8 bits, rotation %s', async (rotation) => {
    const { bytes, report } = await run({ rotation, fit: { outliers: 3 } });
    const plain = await run({ rotation });
    expect(report.linearWeights).toBe(plain.report.linearWeights);
    // Three codes and an f16 scale a row, the codes padded to four; and the columns' numbers.
    const rows = report.tensors.flatMap(({ kind, shape }) => (kind === 'linear' ? [shape[0]!] : []));
    const added = rows.reduce((sum, count) => sum + 6 * count, 0) + 12 * rows.length;
    expect(report.linearBytes).toBe(plain.report.linearBytes + added);
    expect(await validateContainer(createMemorySource(bytes))).toMatchObject({ ok: true });
    const container = await openContainer(createMemorySource(bytes));
    const source = makeCheckpoint();
    for (const { name, encoding } of container.manifest.tensors) {
      if (!name.includes('proj')) continue;
      expect(encoding).toMatchObject({ kind: 'w11-outlier', outlierColumns: 3 });
      const index = new Uint32Array((await container.readPlane(name, 'outlier-index')).slice().buffer);
      const [rows, columns] = source.tensorInfo(name).shape as [number, number];
      const found = decodeLayerWeights(await container.readTensor(name));
      const given = source.tensors.get(name)!;
      for (let row = 0; row < rows; row++) {
        const largest = Math.max(...[...index].map((column) => Math.abs(given[row * columns + column]!)));
        for (const column of index)
          expect(Math.abs(found[row * columns + column]! - given[row * columns + column]!)).toBeLessThan(
            largest * (0.51 / 127),
          );
      }
    }
    const again = await run({ rotation, fit: { outliers: 3 } });
    expect(Buffer.compare(again.bytes, bytes)).toBe(0);
  });

  it('takes out the columns whose inputs are largest', async () => {
    const checkpoint = makeCheckpoint();
    for (const [name, values] of checkpoint.tensors)
      if (name.includes('layernorm')) for (const column of [1, 7]) values[column] = 40;
    const { bytes } = await run({ fit: { outliers: 2 } }, checkpoint);
    const container = await openContainer(createMemorySource(bytes));
    for (const name of ['self_attn.q_proj', 'self_attn.v_proj', 'mlp.up_proj']) {
      const index = await container.readPlane(`model.layers.1.${name}.weight`, 'outlier-index');
      expect([...new Uint32Array(index.slice().buffer)]).toEqual([1, 7]);
    }
  });

  it('takes a layer that nothing reaches', async () => {
    const checkpoint = makeCheckpoint();
    // No gate, so no input of the down projection; dead columns are all there are.
    checkpoint.tensors.get('model.layers.0.mlp.gate_proj.weight')!.fill(0);
    const { report } = await run({}, checkpoint);
    const down = report.tensors.find(({ name }) => name === 'model.layers.0.mlp.down_proj.weight')!;
    expect(down.relativeError).toBe(0);
  });
});

describe('a calibrated run that was cut short', () => {
  it('goes on with the blocks that were kept, damaged ones apart, and leaves nothing behind', async () => {
    const workFolder = join(folder, 'work');
    const whole = await run();
    const controller = new AbortController();
    const cut = run({
      workFolder,
      signal: controller.signal,
      onProgress: ({ tensor }) => {
        if (tensor === 'block 0') controller.abort();
      },
    });
    await expect(cut).rejects.toMatchObject({ code: 'ABORTED' });
    const [kept, ...others] = await readdir(workFolder);
    expect(others).toEqual([]);

    const layers: string[] = [];
    const resumed = await run({
      workFolder,
      onProgress: ({ phase, tensor }) => {
        if (phase === 'calibrate') layers.push(tensor);
      },
    });
    expect(layers.some((layer) => layer.startsWith('model.layers.0.'))).toBe(false);
    expect(layers.some((layer) => layer.startsWith('model.layers.1.'))).toBe(true);
    expect(Buffer.compare(resumed.bytes, whole.bytes)).toBe(0);
    await expect(readdir(workFolder)).rejects.toMatchObject({ code: 'ENOENT' });

    await expect(
      run({
        workFolder,
        onProgress: ({ tensor }) => {
          if (tensor === 'block 1') throw new Error('killed');
        },
      }),
    ).rejects.toThrow('killed');
    const path = join(workFolder, kept!);
    const bytes = await readFile(path);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(path, bytes);
    expect(Buffer.compare((await run({ workFolder })).bytes, whole.bytes)).toBe(0);
  });

  it('says when a block cannot be kept', async () => {
    const file = join(folder, 'file');
    await writeFile(file, '');
    await expect(run({ workFolder: join(file, 'below') })).rejects.toMatchObject({ code: 'WORK_FOLDER' });
  });
});

describe('stage 1 refuses', () => {
  it.each([
    { importance: 'most' },
    { fit: 'lloyd' },
    { pairing: 'inner' },
    { damping: -1 },
    { correction: 2 },
    { turns: 1.5 },
  ])('the option %j', async (fit) => {
    await expect(run({ fit: fit as Partial<FitOptions> })).rejects.toMatchObject({ code: 'QUANTIZE_OPTION' });
  });

  it('a model whose activations are not finite, by the name of the layer', async () => {
    const checkpoint = makeCheckpoint();
    checkpoint.tensors.get('model.layers.1.input_layernorm.weight')!.fill(3e38);
    await expect(run({}, checkpoint)).rejects.toMatchObject({
      code: 'CALIBRATION_NOT_FINITE',
      where: 'model.layers.1.self_attn.q_proj.weight',
    });
  });
});
