// What the webgpu backend promises beside right numbers: a token is one pass, one submit and one small readback; nothing is compiled
// or allocated once it is warm; operations that run as one leave every slot as they do one by one; greedy text is the
// reference's; and without WebGPU there is one clear line.
import {
  buildPlan,
  createModel,
  createReferenceBackend,
  type ExecutionPlan,
  type Model,
  readOutlierColumns,
  SLOTS,
  splitOutliers,
} from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { createWebGpuBackend } from '@duobit/runtime-web';
import { makeTinyModel } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { createNodeWebGpuBackend, type NodeWebGpuOptions } from '../../src/webgpu/backend.ts';
import { findWebGpu } from './swiftshader.ts';

const absent = await findWebGpu();
const source = makeTinyModel({
  seed: 21,
  linear: 'w11',
  embedding: 'int8',
  architecture: { contextLength: 160 },
});
/** Rotated inputs of which the last values are transformed twice, and outlier columns. */
const rotated = makeTinyModel({
  seed: 22,
  linear: 'w11-outlier',
  embedding: 'int8',
  rotated: () => true,
  architecture: {
    contextLength: 160,
    hiddenSize: 36,
    intermediateSize: 91,
    headCount: 3,
    kvHeadCount: 1,
    headSize: 12,
  },
});
/** Where tiles are not what is tested, their kernels need not be compiled. */
const NO_TILES = { tileFrom: 100 };
const TOKENS = Int32Array.of(256, 72, 105, 33, 10, 84);

async function withProgram<T>(
  options: NodeWebGpuOptions,
  use: (
    program: Awaited<ReturnType<Awaited<ReturnType<typeof createNodeWebGpuBackend>>['prepare']>>,
    pipelines: () => number,
  ) => Promise<T>,
  of = source,
): Promise<T> {
  const backend = await createNodeWebGpuBackend(options);
  try {
    const program = await backend.prepare(
      buildPlan(of, { outliers: await readOutlierColumns(of) }),
      splitOutliers((name) => of.readTensor(name)),
      { capacity: 160, maxRows: 8 },
    );
    return await use(program, () => backend.pipelines);
  } finally {
    await backend.dispose();
  }
}

async function continueGreedily(model: Model): Promise<number[]> {
  const tokens: number[] = [];
  for await (const event of model.generate('Once', { maxTokens: 64, ignoreEos: true }))
    if (event.kind === 'token') tokens.push(event.token);
  await model.dispose();
  return tokens;
}

const title = `webgpu programs${absent === null ? '' : `, absent: ${absent}`}`;
// SwiftShader takes seconds to compile a kernel.
describe.skipIf(absent !== null)(title, { timeout: 300_000 }, () => {
  it('take one pass, one submit and a readback of 8 bytes for a token, and reuse all they have', () =>
    withProgram({ tuning: NO_TILES }, async (program, pipelines) => {
      const step = async (position: number): Promise<number> => {
        await program.write(SLOTS.tokens, TOKENS.subarray(0, 1));
        await program.run({ rows: 1, position, logits: 'last' });
        return (await program.readBest(SLOTS.logits)).index;
      };
      await step(0);
      const warm = program.counters;
      const compiled = pipelines();
      for (let position = 1; position < 5; position++) await step(position);
      const { passes, submits, readbacks, readbackBytes, buffers, bufferBytes } = program.counters;
      expect([passes - warm.passes, submits - warm.submits, readbacks - warm.readbacks]).toEqual([4, 4, 4]);
      expect(readbackBytes - warm.readbackBytes).toBe(4 * 8);
      expect([buffers, bufferBytes, pipelines()]).toEqual([warm.buffers, warm.bufferBytes, compiled]);
      // Every weight once, and of the embedding, which is the head too, a row more.
      const embedding = source.tensorInfo('model.embed_tokens.weight');
      const row = program.counters.weightBytesOfRun - program.weightBytes;
      expect(row).toBeGreaterThan(0);
      expect(row).toBeLessThan(2 * embedding.shape[1]!);
    }));

  it('find what reading all logits finds', () =>
    withProgram({ kv: 'f32', tuning: NO_TILES }, async (program) => {
      await program.write(SLOTS.tokens, TOKENS);
      await program.run({ rows: TOKENS.length, position: 0, logits: 'last' });
      const best = await program.readBest(SLOTS.logits);
      const logits = await program.read(SLOTS.logits);
      expect(best).toEqual({ index: logits.indexOf(Math.max(...logits)), value: Math.max(...logits) });
    }));

  it.each([
    ['plain inputs', source],
    ['rotated inputs with outlier columns', rotated],
  ])('leave every slot as operations one by one do, to the bit: %s', async (_name, of) => {
    const { slots } = buildPlan(of, { outliers: await readOutlierColumns(of) });
    const readAll = (tuning: NodeWebGpuOptions['tuning']) =>
      withProgram(
        { kv: 'int4', tuning },
        async (program) => {
          const found: [string, Float32Array][] = [];
          for (const [position, rows] of [
            [0, 6],
            [6, 1],
            [140, 1],
            [3, 2],
          ] as const) {
            await program.write(SLOTS.tokens, TOKENS.subarray(0, rows));
            await program.run({ rows, position, logits: 'last' });
            for (const name of Object.keys(slots))
              found.push([`${name} at ${position}`, await program.read(name)]);
          }
          return found;
        },
        of,
      );
    expect(await readAll({})).toEqual(await readAll({ fuse: false }));
  });

  it('keep so many bytes a position as the precision of the cache says', async () => {
    const bytes: number[] = [];
    for (const kv of ['f32', 'f16', 'int8', 'int4'] as const)
      await withProgram({ kv, tuning: NO_TILES }, async (program) => {
        bytes.push(program.counters.cacheBytes / 160);
      });
    // 2 layers, keys and values, 2 heads of 16; of codes an offset and a step, too.
    expect(bytes).toEqual([4, 2, 1, 0.5].map((each, i) => 2 * 2 * 2 * (16 * each + (i < 2 ? 0 : 4))));
  });

  it('refuse to search for more than there is, or than fits', () =>
    withProgram({ tuning: NO_TILES }, async (program) => {
      await program.write(SLOTS.tokens, TOKENS);
      await program.run({ rows: TOKENS.length, position: 0, logits: 'none' });
      await expect(program.readTop(SLOTS.logits, 4)).rejects.toMatchObject({ code: 'RUN_INVALID' });
      await program.run({ rows: TOKENS.length, position: 0, logits: 'last' });
      for (const count of [0, 1.5, 261])
        await expect(program.readTop(SLOTS.logits, count)).rejects.toThrow(/it allows 1 to 260/);
      expect((await program.readTop(SLOTS.logits, 260)).indices).toHaveLength(260);
      for (const search of [program.readTop(SLOTS.logits, 4, 1), program.readBest(SLOTS.logits, 1)])
        await expect(search).rejects.toMatchObject({ code: 'BACKEND_UNSUPPORTED' });
    }));

  it('write the text of the reference backend: 64 tokens of a W(1+1)A4 model', async () => {
    const backend = await createNodeWebGpuBackend({ kv: 'f32' });
    const expected = await continueGreedily(await createModel(source, createReferenceBackend(), {}));
    expect(await continueGreedily(await createModel(source, backend, {}))).toEqual(expected);
    await backend.dispose();
  });

  it('are refused with more rows than a grid has', async () => {
    const backend = await createNodeWebGpuBackend({});
    const slot = { kind: 'f32', width: 1 } as const;
    const plan: ExecutionPlan = {
      ...buildPlan(source),
      slots: { x: slot, y: slot },
      operations: [{ op: 'add', input: 'x', out: 'y' }],
      cacheLayers: 0,
    };
    const prepare = (maxRows: number) =>
      backend.prepare(plan, (name) => source.readTensor(name), { capacity: 65_536, maxRows });
    await expect(prepare(65_536)).rejects.toMatchObject({ code: 'BACKEND_OPTION', where: 'maxRows' });
    const program = await prepare(65_535);
    await program.run({ rows: 65_535, position: 0, logits: 'none' });
    expect(await program.read('y')).toEqual(new Float32Array(65_535));
    await backend.dispose();
  });

  it('free what they hold', () =>
    withProgram({ tuning: NO_TILES }, async (program) => {
      expect(program.counters.buffers).toBeGreaterThan(10);
      await program.dispose();
      expect(program.counters.buffers).toBe(0);
    }));
});

describe('the webgpu backend', () => {
  it('says in one line that WebGPU is not there', async () => {
    const error = await createWebGpuBackend({ gpu: undefined }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DuobitError);
    expect(error).toMatchObject({ code: 'BACKEND_UNSUPPORTED', message: 'WebGPU is not there' });
  });

  it('says so when there is no adapter', async () => {
    const gpu = { requestAdapter: async () => null, wgslLanguageFeatures: new Set() } as unknown as GPU;
    const error = await createWebGpuBackend({ gpu }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'BACKEND_UNSUPPORTED', message: 'WebGPU has no adapter here' });
  });

  it('refuses a precision of the cache that does not exist', async () => {
    const kv = JSON.parse('"f8"');
    const error = await createWebGpuBackend({ gpu: undefined, kv }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'BACKEND_OPTION' });
  });
});
