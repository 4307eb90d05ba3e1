// What is particular to the cuda backend, on the emulator: fused launches of one row, decoding on the device, memory, refusals.
import {
  type Backend,
  buildPlan,
  createModel,
  createReferenceBackend,
  readOutlierColumns,
  SLOTS,
  splitOutliers,
} from '@duobit/core';
import { makeTinyModel, type TinyModel, type TinyModelOptions } from '@duobit/testkit';
import { describe, expect, it, vi } from 'vitest';
import { createBackend } from '../backends.ts';
import { createCudaBackend, cudaSupport } from './backend.ts';
import { Device } from './device.ts';
import { CudaError, Driver } from './driver.ts';
import type { CudaProgram } from './program.ts';
import { buildEmulator } from './testing/emulator.ts';

const { path: library, reason } = buildEmulator();

describe('without a driver', () => {
  it('says why in one line, and auto takes another backend', async () => {
    for (const [missing, said] of [
      ['/nowhere/libcuda.so.1', '"/nowhere/libcuda.so.1" is no CUDA driver'],
      ['OFF', 'switched off by DUOBIT_CUDA'],
    ] as const) {
      const support = cudaSupport(missing);
      expect(support).toMatchObject({ available: false, reason: expect.stringContaining(said) });
      if (!support.available) expect(support.reason).not.toContain('\n');
      await expect(createCudaBackend({ library: missing })).rejects.toMatchObject({
        code: 'BACKEND_UNSUPPORTED',
      });
    }
    process.env.DUOBIT_CUDA = 'off';
    const backend = await createBackend('auto', { onNotice: () => {} });
    expect(backend.name).not.toBe('cuda');
    await backend.dispose();
    delete process.env.DUOBIT_CUDA;
  });
});

async function prepare(source: TinyModel, kv: 'f32' | 'f16' = 'f32') {
  const backend = await createCudaBackend({ library, kv });
  const plan = buildPlan(source, { outliers: await readOutlierColumns(source) });
  const program = (await backend.prepare(
    plan,
    splitOutliers((name) => source.readTensor(name)),
    { capacity: 32, maxRows: 16 },
  )) as CudaProgram;
  return { backend, program };
}

const PROMPT = [5, 77, 130, 6, 240, 9, 31, 2, 88, 41];
const COUNT = 10;

describe.skipIf(reason !== null)(`on the emulator${reason === null ? '' : `: ${reason}`}`, () => {
  const models: [string, TinyModelOptions][] = [
    ...([32, 64, 128, 256] as const).flatMap((groupSize) =>
      [true, false].map((offsets): [string, TinyModelOptions] => [
        `groups of ${groupSize}${offsets ? ', offsets' : ''}`,
        { seed: groupSize, linear: 'w11', groupSize, offsets, embedding: 'int8' },
      ]),
    ),
    ['rotated inputs', { seed: 3, linear: 'w11', rotated: () => true, architecture: { hiddenSize: 192 } }],
    ['outlier columns', { seed: 4, linear: 'w11-outlier', rotated: (weight) => !/o_proj/.test(weight) }],
  ];
  it('refuses a DUOBIT_CUDA_FUSE that is no number', async () => {
    process.env.DUOBIT_CUDA_FUSE = 'abc';
    try {
      const refused = prepare(makeTinyModel({ seed: 128, linear: 'w11', embedding: 'int8' }));
      await expect(refused).rejects.toMatchObject({ code: 'BACKEND_OPTION', where: 'DUOBIT_CUDA_FUSE' });
    } finally {
      delete process.env.DUOBIT_CUDA_FUSE;
    }
  });

  it.each(models)('writes what the reference writes, one row a launch: %s', async (_, options) => {
    const source = makeTinyModel(options);
    const texts: number[][] = [];
    const { backend, program } = await prepare(source);
    for (const each of [createReferenceBackend(), backend]) {
      const model = await createModel(source, each, { contextLength: 32, maxRows: 16, tokenizer: false });
      const tokens: number[] = [];
      const generated = model.generate(
        { tokens: PROMPT },
        { maxTokens: COUNT, temperature: 0, ignoreEos: true },
      );
      for await (const event of generated) if (event.kind === 'token') tokens.push(event.token);
      texts.push(tokens);
      await model.dispose();
    }
    expect(texts[1]).toEqual(texts[0]);
    await program.write(SLOTS.tokens, Int32Array.from(PROMPT));
    await program.run({ rows: PROMPT.length, position: 0, logits: 'last' });
    const chosen = await program.decodeGreedy(texts[0]![0]!, PROMPT.length, COUNT - 1);
    expect([...chosen]).toEqual(texts[0]!.slice(1));
    await program.dispose();
    await backend.dispose();
  });

  it('decodes with a few calls of the driver a token, and begins the next before it waits', async () => {
    const { backend, program } = await prepare(
      makeTinyModel({ seed: 128, linear: 'w11', embedding: 'int8' }),
    );
    const { driver } = program.parts.device;
    const calls: string[] = [];
    const call = vi.spyOn(driver, 'call').mockImplementation(function (this: Driver, name, ...values) {
      calls.push(name);
      return Driver.prototype.call.call(this, name, ...values);
    });
    const step = async (token: number, position: number, count: number) => {
      calls.length = 0;
      await program.write(SLOTS.tokens, Int32Array.of(token));
      await program.run({ rows: 1, position, logits: 'last' });
      if (count === 0) {
        await program.readSums(SLOTS.logits, 0.7);
        await program.readPart(SLOTS.logits, 0, 260);
        return position;
      }
      const top = count === 1 ? null : await program.readTop(SLOTS.logits, count);
      return top?.indices[0] ?? (await program.readBest(SLOTS.logits)).index;
    };
    // From the second on a run is recorded, and looks for what was asked for after the one before.
    let token = 5;
    for (let position = 0; position < 8; position++) token = await step(token, position, 0);
    const graph = ['cuGraphLaunch', 'cuEventRecord', 'cuEventSynchronize'];
    expect(calls).toEqual([...graph, 'cuMemcpyDtoHAsync_v2', 'cuStreamSynchronize']);
    for (let position = 8; position < 19; position++) token = await step(token, position, 4);
    expect(calls).toEqual(graph);
    for (let position = 19; position < 23; position++) token = await step(token, position, 1);
    expect(calls).toEqual(graph);
    // The last of the cache has nothing to begin.
    for (let position = 23; position < 32; position++) token = await step(token, position, 1);
    expect(calls).toEqual(['cuEventSynchronize']);
    call.mockRestore();
    await program.dispose();
    await backend.dispose();
  });

  it('samples the tokens that all logits would give, several texts at once', async () => {
    const source = makeTinyModel({ seed: 64, linear: 'w11', embedding: 'int8' });
    const backend = await createCudaBackend({ library });
    const readsAll: Backend = {
      ...backend,
      prepare: async (...parts) => {
        const program = await backend.prepare(...parts);
        return {
          weightBytes: program.weightBytes,
          write: (...each) => program.write(...each),
          run: (request) => program.run(request),
          read: (slot) => program.read(slot),
          dispose: () => program.dispose(),
        };
      },
    };
    const texts: number[][][] = [];
    for (const each of [backend, readsAll]) {
      const model = await createModel(source, each, { contextLength: 32, sequences: 3, tokenizer: false });
      texts.push(
        await Promise.all(
          [{ temperature: 1.3 }, { temperature: 2, topP: 0.3 }, { temperature: 3, minP: 0.4 }].map(
            async (options, seed) => {
              const tokens: number[] = [];
              const sampled = { ...options, seed, maxTokens: 20, ignoreEos: true };
              for await (const event of model.generate({ tokens: PROMPT.slice(seed) }, sampled))
                if (event.kind === 'token') tokens.push(event.token);
              return tokens;
            },
          ),
        ),
      );
      await model.dispose();
    }
    expect(texts[0]!.map((tokens) => new Set(tokens).size > 10)).toEqual([true, true, true]);
    expect(texts[0]).toEqual(texts[1]);
    await backend.dispose();
  });

  it('refuses sums and parts that there cannot be', async () => {
    const { backend, program } = await prepare(makeTinyModel({ seed: 64, linear: 'w11', embedding: 'int8' }));
    const { logits, tokens } = SLOTS;
    const invalid = { code: 'RUN_INVALID' };
    await expect(program.readSums(logits, 1)).rejects.toMatchObject(invalid);
    await program.write(tokens, Int32Array.of(5));
    await program.run({ rows: 1, position: 0, logits: 'last' });
    for (const temperature of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      await expect(program.readSums(logits, temperature)).rejects.toMatchObject(invalid);
    await expect(program.readSums(logits, 1, 1)).rejects.toMatchObject(invalid);
    await expect(program.readSums(tokens, 1)).rejects.toMatchObject(invalid);
    for (const [first, count] of [
      [-1, 4],
      [0, 0],
      [0, 261],
      [259, 2],
      [0.5, 1],
      [0, Number.NaN],
    ] as const)
      await expect(program.readPart(logits, first, count)).rejects.toMatchObject(invalid);
    await program.dispose();
    await backend.dispose();
  });

  it('gives back all memory, after failed preparations too', async () => {
    const device = new Device(library);
    const { free } = device.memory();
    for (let i = 0; i < 3; i++) {
      const { backend, program } = await prepare(makeTinyModel({ linear: 'w11', embedding: 'int8' }));
      expect(device.memory().free).toBeLessThan(free);
      const broken = async () => Promise.reject(new Error('cannot be read'));
      await expect(backend.prepare(program.parts.plan, broken, { capacity: 8, maxRows: 1 })).rejects.toThrow(
        'cannot be read',
      );
      await program.dispose();
      await backend.dispose();
    }
    expect(device.memory().free).toBe(free);
    device.dispose();
  });

  it('gives back memory of the host that it has taken when it cannot have more', async () => {
    const source = makeTinyModel({ linear: 'w11', embedding: 'int8' });
    const { backend, program } = await prepare(source);
    const { plan, device } = program.parts;
    const { driver } = device;
    const held = new Set<unknown>();
    let left = 0;
    const call = vi.spyOn(driver, 'call').mockImplementation(function (this: Driver, name, ...values) {
      if (name === 'cuMemAllocHost_v2' && left-- === 0) throw new CudaError(2, 'out of memory');
      Driver.prototype.call.call(this, name, ...values);
      if (name === 'cuMemAllocHost_v2') held.add(Number(this.scratch.view.getBigUint64(0, true)));
      if (name === 'cuMemFreeHost') held.delete(values[0]);
    });
    const read = (name: string) => source.readTensor(name);
    const options = { capacity: 8, maxRows: 1 };
    for (let failing = 0; failing < 3; failing++) {
      left = failing;
      await expect(backend.prepare(plan, read, options)).rejects.toMatchObject({
        code: 'BACKEND_OUT_OF_MEMORY',
        message: expect.stringContaining('no pinned host memory for'),
      });
      expect(held.size).toBe(0);
    }
    left = 3;
    const another = await backend.prepare(plan, read, options);
    expect([left, held.size]).toEqual([0, 3]);
    await another.dispose();
    expect(held.size).toBe(0);
    call.mockRestore();
    await program.dispose();
    await backend.dispose();
  });

  it('gives back what its programs hold when the backend is disposed of first', async () => {
    const device = new Device(library);
    const { free } = device.memory();
    const { backend, program } = await prepare(makeTinyModel({ linear: 'w11' }));
    await program.write(SLOTS.tokens, Int32Array.from(PROMPT));
    await backend.dispose();
    expect(device.memory().free).toBe(free);
    await expect(program.run({ rows: 1, position: 0, logits: 'last' })).rejects.toMatchObject({
      code: 'BACKEND_DISPOSED',
    });
    await program.dispose();
    await backend.dispose();
    device.dispose();
  });

  it('says what was needed and what was free when memory runs out', async () => {
    process.env.DUOBIT_EMULATOR_MEMORY = String(64 << 20);
    const source = makeTinyModel({ linear: 'w11' });
    const backend = await createCudaBackend({ library });
    const device = new Device(library);
    const { free } = device.memory();
    await expect(
      backend.prepare(buildPlan(source), (name) => source.readTensor(name), { capacity: 1e6, maxRows: 1 }),
    ).rejects.toMatchObject({
      code: 'BACKEND_OUT_OF_MEMORY',
      message: expect.stringMatching(/KV cache of \d+ positions: [\d.]+ MiB needed, [\d.]+ MiB of 64.0 MiB/),
    });
    expect(device.memory().free).toBe(free);
    device.dispose();
    await backend.dispose();
    // Nor is a GPU broken on which others have all of it.
    process.env.DUOBIT_EMULATOR_MEMORY = '1000';
    await expect(createCudaBackend({ library })).rejects.toMatchObject({ code: 'BACKEND_OUT_OF_MEMORY' });
    delete process.env.DUOBIT_EMULATOR_MEMORY;
  });

  it('refuses options that there are not', async () => {
    await expect(createCudaBackend({ library, kv: 'int3' as 'int4' })).rejects.toMatchObject({
      code: 'BACKEND_OPTION',
      where: 'kv',
    });
  });
});
