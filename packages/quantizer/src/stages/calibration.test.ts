// Calibration block by block against the statistics of the whole model in one plan, and its refusals.
import { readFile } from 'node:fs/promises';
import {
  buildPlan,
  createReferenceBackend,
  createTokenizer,
  listTensors,
  SLOTS,
  statisticsSlot,
} from '@duobit/core';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type MemoryCheckpoint,
  makeMemoryCheckpoint,
  SMALL_ARCHITECTURE,
} from '../testing/memory-checkpoint.ts';
import { calibrate, importanceOf } from './calibration.ts';

const TINY_STORIES = new URL('../../../../fixtures/tinystories-656k/', import.meta.url);
const TEXT = 'Once upon a time there was a little cat who liked to play in the big green garden. '.repeat(20);

let assets: Parameters<typeof makeMemoryCheckpoint>[1];
beforeAll(async () => {
  const read = async (name: string) => new Uint8Array(await readFile(new URL(name, TINY_STORIES)));
  assets = {
    tokenizer: await read('tokenizer.json'),
    'tokenizer-config': await read('tokenizer_config.json'),
  };
});

function makeCheckpoint(): MemoryCheckpoint {
  return makeMemoryCheckpoint({ ...SMALL_ARCHITECTURE, vocabularySize: 2048, contextLength: 128 }, assets);
}

describe('calibrate', () => {
  it('sums what the whole model sees, over windows spread evenly', async () => {
    const checkpoint = makeCheckpoint();
    const backend = createReferenceBackend();
    const context = 70;
    const found = await calibrate(checkpoint, backend, { text: TEXT, context, maxWindows: 2 });
    expect(found.tokens).toBe(140);

    const tokens = (await createTokenizer(checkpoint)).encode(TEXT, { bos: false });
    const available = Math.floor(tokens.length / context);
    expect(available).toBeGreaterThan(3);
    const plan = buildPlan(checkpoint, { statistics: 'gram' });
    const program = await backend.prepare(plan, (name) => checkpoint.readTensor(name), {
      capacity: context,
      maxRows: context,
    });
    for (const window of [0, Math.floor(available / 2)]) {
      const ids = tokens.slice(window * context, (window + 1) * context);
      await program.write(SLOTS.tokens, Int32Array.from(ids));
      await program.run({ rows: context, position: 0, logits: 'none' });
    }
    for (const { name, kind, shape } of listTensors(checkpoint.architecture)) {
      if (kind !== 'linear') continue;
      const gram = await program.read(statisticsSlot(name));

      const squares = found.squares.get(name)!;
      expect(squares.length).toBe(shape[1]);
      squares.forEach((sum, k) => {
        const expected = gram[k * (squares.length + 1)]!;
        expect(Math.abs(sum - expected)).toBeLessThanOrEqual(1e-4 * expected);
        expect(sum).toBeGreaterThan(0);
      });
    }
  });

  it('uses all windows when there are fewer than asked for, and reports each', async () => {
    const progress: [number, number][] = [];
    const backend = createReferenceBackend();
    const found = await calibrate(
      makeCheckpoint(),
      backend,
      { text: TEXT, context: 128, maxWindows: 1000 },
      { onProgress: (_, done, total) => progress.push([done, total]) },
    );
    const windows = found.tokens / 128;
    expect(windows).toBeGreaterThan(1);
    expect(progress.at(-1)).toEqual([2 * windows, 2 * windows]);
    expect(progress.map(([done]) => done)).toEqual([...Array(2 * windows + 1).keys()]);
  });

  it.each([
    ['TEXT_TOO_SHORT', { text: 'A cat.' }, {}],
    ['TEXT_TOO_SHORT', { text: '' }, {}],
    ['QUANTIZE_OPTION', { text: TEXT, context: 129 }, {}],
    ['QUANTIZE_OPTION', { text: TEXT, context: 1.5 }, {}],
    ['QUANTIZE_OPTION', { text: TEXT, maxWindows: 0 }, {}],
    ['ABORTED', { text: TEXT }, { signal: AbortSignal.abort() }],
  ])('throws %s for %j', async (code, options, run) => {
    await expect(calibrate(makeCheckpoint(), createReferenceBackend(), options, run)).rejects.toMatchObject({
      code,
    });
  });

  it('names the layer whose input overflows', async () => {
    const checkpoint = makeCheckpoint();
    checkpoint.tensors.get('model.layers.1.self_attn.v_proj.weight')!.fill(Number.NaN);
    await expect(calibrate(checkpoint, createReferenceBackend(), { text: TEXT })).rejects.toMatchObject({
      code: 'CALIBRATION_NOT_FINITE',
      where: 'model.layers.1.self_attn.o_proj.weight',
    });
  });
});

describe('importanceOf', () => {
  it('adds one per cent of the mean, so that dead columns still count', () => {
    expect([...importanceOf(Float64Array.of(0, 4, 8))]).toEqual([0.04, 4.04, 8.04]);
  });

  it('is uniform for a layer whose inputs are all zero', () => {
    expect([...importanceOf(new Float64Array(3))]).toEqual([1, 1, 1]);
  });
});
