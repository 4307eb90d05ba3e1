// The runtime backend beyond what the conformance suite asks: memory, the knee, refusals, several engines in one process.
import { buildPlan, createModel, createReferenceBackend, type ExecutionPlan, SLOTS } from '@duobit/core';
import {
  type ActivationQuantizer,
  activationLadder,
  decodeActivations,
  quantizeActivations,
} from '@duobit/format';
import { createRandom, drawActivations, makeTinyModel, makeW11 } from '@duobit/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { openEngine } from '../src/engine.ts';
import { createTfjsBackend, openTfjsBackend } from '../src/runtime/backend.ts';

const KNEES: readonly ActivationQuantizer[] = [
  { bits: 4, clipLow: 1, clipHigh: 1, knee: { code: 4, slopeRatio: 3 }, planeScales: null },
  { bits: 4, clipLow: 0.9, clipHigh: 0.7, knee: { code: 7, slopeRatio: 2 }, planeScales: null },
  { bits: 4, clipLow: 1, clipHigh: 1, knee: { code: 14, slopeRatio: 8 }, planeScales: null },
];

describe('memory', () => {
  it('makes no tensor more over 100 tokens, and frees all when disposed of', async () => {
    const engine = await openEngine({ device: 'wasm' });
    const { tf } = engine;
    const source = makeTinyModel({ seed: 5, linear: 'w11', embedding: 'int8', rotated: () => true });
    const before = tf.memory();
    const backend = createTfjsBackend(engine);
    const plan = buildPlan(source, { statistics: 'gram' });
    const program = await backend.prepare(plan, (name) => source.readTensor(name), {
      capacity: 110,
      maxRows: 4,
    });
    const step = async (position: number): Promise<void> => {
      await program.write(SLOTS.tokens, Int32Array.of(position % 250));
      await program.run({ rows: 1, position, logits: 'last' });
      await program.read(SLOTS.logits);
    };
    await step(0);
    const held = tf.memory().numTensors;
    for (let position = 1; position <= 100; position++) await step(position);
    expect(tf.memory().numTensors).toBe(held);
    // A run that fails in the middle leaves nothing either.
    await program.write(SLOTS.tokens, Int32Array.of(-1));
    await expect(program.run({ rows: 1, position: 101, logits: 'last' })).rejects.toMatchObject({
      code: 'RUN_INVALID',
    });
    await backend.dispose();
    expect(tf.memory().numTensors).toBe(before.numTensors);
    expect(tf.memory().numBytes).toBe(before.numBytes);
    await expect(program.read(SLOTS.logits)).rejects.toMatchObject({ code: 'BACKEND_DISPOSED' });
    await expect(
      backend.prepare(plan, async () => Promise.reject(), { capacity: 1, maxRows: 1 }),
    ).rejects.toMatchObject({
      code: 'BACKEND_DISPOSED',
    });
  });

  it('frees the weights of a plan that does not fit', async () => {
    const engine = await openEngine({ device: 'cpu' });
    const before = engine.tf.memory().numTensors;
    const { data } = makeW11('w', 4, 40, { groupSize: 32, offsets: true }, createRandom(1));
    const plan = planOf(41, 4, null);
    const backend = createTfjsBackend(engine);
    await expect(backend.prepare(plan, async () => data, { capacity: 1, maxRows: 1 })).rejects.toMatchObject({
      code: 'PLAN_INVALID',
    });
    expect(engine.tf.memory().numTensors).toBe(before);
  });

  it('packs weights of two bits and their levels in less than a fifth of f32', async () => {
    const backend = await openTfjsBackend({ device: 'cpu' });
    const { data } = makeW11('w', 64, 1536, { groupSize: 128, offsets: true }, createRandom(2));
    const plan = planOf(1536, 64, null);
    const program = await backend.prepare(plan, async () => data, { capacity: 1, maxRows: 1 });
    expect(program.weightBytes).toBeLessThan((4 * 64 * 1536) / 5);
    await program.dispose();
  });
});

/** Codes of x, and W(1+1) times them where there is a quantizer. */
function planOf(columns: number, rows: number, quantizer: ActivationQuantizer | null): ExecutionPlan {
  return {
    slots: {
      x: { kind: 'f32', width: columns },
      c: { kind: 'a4', width: columns },
      y: { kind: 'f32', width: rows },
    },
    operations: [
      ...(quantizer ? [{ op: 'quantizeActivations', input: 'x', quantizer, out: 'c' } as const] : []),
      { op: 'w11MatMul', input: quantizer ? 'c' : 'x', weight: 'w', out: 'y' },
    ],
    cacheLayers: 0,
    heads: { headCount: 1, kvHeadCount: 1, headSize: 2 },
    ropeFrequencies: new Float64Array([1]),
  };
}

describe('the knee', () => {
  it.each(KNEES)('gives the codes of the format and their product, $knee', async (quantizer) => {
    const backend = await openTfjsBackend({ device: 'cpu' });
    const random = createRandom(3);
    const [columns, rows] = [96, 17];
    const { data, weights } = makeW11('w', rows, columns, { groupSize: 64, offsets: true }, random);
    const program = await backend.prepare(planOf(columns, rows, quantizer), async () => data, {
      capacity: 4,
      maxRows: 4,
    });
    const x = drawActivations(random, 4 * columns);
    // A row whose step is 1, with values halfway between all places.
    const ladder = activationLadder(quantizer);
    const top = ladder.at(-1)!;
    x.fill(0, columns, 2 * columns);
    x.set([0, Math.fround(top / Math.fround(quantizer.clipHigh))], columns);
    x.set(
      ladder.slice(1).map((place, i) => (place + ladder[i]!) / 2),
      columns + 2,
    );
    x[2 * columns + 5] = Number.NaN;
    await program.write('x', x);
    await program.run({ rows: 4, position: 0, logits: 'none' });
    const [decoded, product] = [await program.read('c'), await program.read('y')];
    for (let t = 0; t < 4; t++) {
      const row = x.subarray(t * columns, (t + 1) * columns);
      const expected = decodeActivations(quantizeActivations(row, quantizer), quantizer);
      expect(decoded.subarray(t * columns, (t + 1) * columns)).toEqual(expected);
      for (let n = 0; n < rows; n++) {
        const sum = expected.reduce((all, value, k) => all + value * weights[n * columns + k]!, 0);
        if (t === 2) expect(product[t * rows + n]).toBeNaN();
        else expect(Math.abs(product[t * rows + n]! - sum)).toBeLessThan(1e-3 * (1 + Math.abs(sum)));
      }
    }
    await backend.dispose();
  });

  it('runs in a model here, and is refused with this remedy by a backend without it', async () => {
    const source = makeTinyModel({ seed: 6, linear: 'w11' });
    const quantizers = () => KNEES[0]!;
    const backend = await openTfjsBackend({ device: 'cpu' });
    const model = await createModel(source, backend, { quantizers, contextLength: 8 });
    const logits = await model.forward([1, 2, 3]);
    expect(logits.every(Number.isFinite)).toBe(true);
    await model.dispose();
    await expect(createModel(source, createReferenceBackend(), { quantizers })).rejects.toMatchObject({
      code: 'PLAN_ACTIVATION_UNSUPPORTED',
      remedy: expect.stringContaining('tfjs backend'),
    });
  });
});

describe('options and engines', () => {
  const folder = process.env.DUOBIT_TFJS_NODE;
  afterEach(() => {
    delete process.env.DUOBIT_TFJS_NODE;
    if (folder !== undefined) process.env.DUOBIT_TFJS_NODE = folder;
  });

  it('refuses a cache of other precisions, and devices that it does not know', async () => {
    for (const kv of ['f16', 'int8', 'int4'] as const)
      await expect(openTfjsBackend({ device: 'cpu', kv })).rejects.toMatchObject({
        code: 'BACKEND_OPTION',
        message: expect.stringContaining('f32'),
      });
    const device = JSON.parse('"tpu"');
    await expect(openTfjsBackend({ device })).rejects.toMatchObject({ code: 'BACKEND_OPTION' });
    expect(await openTfjsBackend({ device: 'cpu', kv: 'f32' })).toMatchObject({ name: 'tfjs', kv: 'f32' });
  });

  it('says what the tensorflow device needs', async () => {
    process.env.DUOBIT_TFJS_NODE = '/nowhere';
    await expect(openTfjsBackend({ device: 'tensorflow' })).rejects.toMatchObject({
      code: 'ENGINE_ABSENT',
      message: expect.stringMatching(/tfjs-node.*libtensorflow 2\.9.*CUDA 11\.2.*DUOBIT_TFJS_NODE/),
    });
  });

  it('leaves in force what was before it, whatever order several are disposed of in', async () => {
    const { tf } = await openEngine({ device: 'cpu' });
    const first = await openTfjsBackend({ device: 'wasm' });
    const second = await openTfjsBackend({ device: 'wasm' });
    await expect(openTfjsBackend({ device: 'tensorflow' })).rejects.toMatchObject({ code: 'ENGINE_ABSENT' });
    await first.dispose();
    await first.dispose();
    expect(tf.getBackend()).toBe('wasm');
    await second.dispose();
    expect(tf.getBackend()).toBe('cpu');
  });

  it('goes on when another engine has been opened since', async () => {
    const source = makeTinyModel({ seed: 7, linear: 'w11', embedding: 'int4' });
    const cpu = await createModel(source, await openTfjsBackend({ device: 'cpu' }), { contextLength: 8 });
    const first = await cpu.forward([4, 5]);
    const wasm = await createModel(source, await openTfjsBackend({ device: 'wasm' }), { contextLength: 8 });
    const other = await wasm.forward([4, 5]);
    expect(await cpu.forward([4, 5])).toEqual(first);
    expect(other.every((value, i) => Math.abs(value - first[i]!) < 1e-3)).toBe(true);
    await cpu.dispose();
    await wasm.dispose();
  });
});
