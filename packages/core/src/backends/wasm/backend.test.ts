// What is particular to the wasm backend: limits of its memory, its options, accounting, the padding of rows, the error of
// its exponential, the benchmark. What all backends share is in conformance.test.ts.
import type { ExecutionPlan, Operation, Slot } from '@duobit/core';
import type { TensorData } from '@duobit/format';
import { createRandom, drawActivations, makeDense, makeInteger, makeW11 } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { createWasmBackend } from './backend.ts';
import { benchMatvec } from './bench.ts';

function makePlan(
  slots: Record<string, Slot>,
  operations: readonly Operation[],
  cacheLayers = 0,
): ExecutionPlan {
  const heads = { headCount: 1, kvHeadCount: 1, headSize: 64 };
  return { slots, operations, cacheLayers, heads, ropeFrequencies: new Float64Array(32) };
}

const none = async () => expect.fail('no weight is needed');

describe('memory', () => {
  it('refuses a program past 4 GiB, saying how much was needed and for what', async () => {
    const backend = await createWasmBackend();
    const plan = makePlan({}, [], 4);
    await expect(backend.prepare(plan, none, { capacity: 2 ** 23, maxRows: 1 })).rejects.toMatchObject({
      code: 'BACKEND_OUT_OF_MEMORY',
      message: expect.stringMatching(/2\.000 GiB for the KV cache of 8388608 positions in 4 layers.*4 GiB/),
    });
  });

  it('refuses sizes that no number of pages can hold', async () => {
    const backend = await createWasmBackend();
    const plan = makePlan({ x: { kind: 'f32', width: 2 ** 40 } }, []);
    await expect(backend.prepare(plan, none, { capacity: 1, maxRows: 2 ** 10 })).rejects.toMatchObject({
      code: 'BACKEND_OUT_OF_MEMORY',
    });
  });

  it('counts the bytes of packed weights, a W(1+1) one at 2.5 bits', async () => {
    const backend = await createWasmBackend();
    const random = createRandom(1);
    const w = makeW11('w', 256, 1024, { groupSize: 128, offsets: true }, random);
    const slots = { x: { kind: 'a4', width: 1024 }, y: { kind: 'f32', width: 256 } } as const;
    const plan = makePlan(slots, [{ op: 'w11MatMul', input: 'x', weight: 'w', out: 'y' }]);
    const program = await backend.prepare(plan, async () => w.data, { capacity: 1, maxRows: 1 });
    // and one f32 row sum for each of the 256 rows
    expect(program.weightBytes).toBe((256 * 1024 * 2.5) / 8 + 256 * 4);
    await program.dispose();
  });

  it('holds a tensor that is both embedding and head once', async () => {
    const backend = await createWasmBackend();
    let reads = 0;
    const w = makeInteger('w', 64, 96, 'int8', 32, createRandom(1));
    const plan = makePlan(
      {
        t: { kind: 'tokens', width: 1 },
        x: { kind: 'f32', width: 96 },
        y: { kind: 'f32', width: 64 },
      },
      [
        { op: 'embed', input: 't', weight: 'w', out: 'x' },
        { op: 'logits', input: 'x', weight: 'w', out: 'y' },
      ],
    );
    const read = async () => {
      reads++;
      return w.data;
    };
    const program = await backend.prepare(plan, read, { capacity: 4, maxRows: 4 });
    expect(reads).toBe(1);
    expect(program.weightBytes).toBe(64 * 96 + 64 * 3 * 4);
    await program.dispose();
  });
});

describe('options and weights', () => {
  it('takes a number of threads and reports how many it runs', async () => {
    const backend = await createWasmBackend({ threads: 3 });
    expect(backend.threads).toBe(3);
    await backend.dispose();
    for (const threads of [0, -1, 1.5, Number.NaN])
      await expect(createWasmBackend({ threads })).rejects.toMatchObject({ code: 'BACKEND_OPTION' });
  });

  it('prepares nothing after dispose', async () => {
    const backend = await createWasmBackend();
    await backend.dispose();
    await expect(backend.prepare(makePlan({}, []), none, { capacity: 1, maxRows: 1 })).rejects.toMatchObject({
      code: 'BACKEND_DISPOSED',
    });
  });

  it('refuses planes that are missing or of the wrong length', async () => {
    const backend = await createWasmBackend();
    const { data } = makeW11('w', 4, 40, { groupSize: 32, offsets: true }, createRandom(1));
    const slots = { x: { kind: 'a4', width: 40 }, y: { kind: 'f32', width: 4 } } as const;
    const plan = makePlan(slots, [{ op: 'w11MatMul', input: 'x', weight: 'w', out: 'y' }]);
    const { sign: _sign, ...rest } = data.planes;
    const options = { capacity: 1, maxRows: 1 };
    await expect(
      backend.prepare(plan, async () => ({ ...data, planes: rest }), options),
    ).rejects.toMatchObject({
      code: 'PLANE_MISSING',
      where: 'tensor w',
    });
    const planes = { ...data.planes, alpha: new Uint8Array(6) };
    await expect(backend.prepare(plan, async () => ({ ...data, planes }), options)).rejects.toMatchObject({
      code: 'PLANE_LENGTH',
      message: 'plane "alpha" has 6 bytes, not 32',
    });
  });

  it('refuses a quantizer with a refinement that it does not run, and an encoding it does not hold', async () => {
    const backend = await createWasmBackend();
    const options = { capacity: 1, maxRows: 1 };
    const quantizer = {
      bits: 4,
      clipLow: 1,
      clipHigh: 1,
      knee: { code: 7, slopeRatio: 2 },
      planeScales: null,
    };
    const slots = { x: { kind: 'f32', width: 40 }, c: { kind: 'a4', width: 40 } } as const;
    const coded = { op: 'quantizeActivations', input: 'x', quantizer, out: 'c' } as Operation;
    await expect(backend.prepare(makePlan(slots, [coded]), none, options)).rejects.toMatchObject({
      code: 'PLAN_INVALID',
      message: expect.stringContaining('knee'),
    });
    const { data } = makeW11('w', 4, 40, { groupSize: 32, offsets: true }, createRandom(1));
    const info = { ...data.info, encoding: { kind: 'unknown', id: 99 } } as TensorData['info'];
    const plan = makePlan({ ...slots, y: { kind: 'f32', width: 4 } }, [
      { op: 'w11MatMul', input: 'c', weight: 'w', out: 'y' },
    ]);
    await expect(backend.prepare(plan, async () => ({ ...data, info }), options)).rejects.toMatchObject({
      code: 'PLAN_INVALID',
      message: expect.stringContaining('"unknown"'),
    });
  });

  it('refuses a product that would overwrite its own input', async () => {
    const backend = await createWasmBackend();
    const w = makeDense('w', [8, 8], 'f32', createRandom(1));
    const plan = makePlan({ x: { kind: 'f32', width: 8 } }, [
      { op: 'denseMatMul', input: 'x', weight: 'w', out: 'x' },
    ]);
    await expect(
      backend.prepare(plan, async () => w.data, { capacity: 1, maxRows: 1 }),
    ).rejects.toMatchObject({ code: 'PLAN_INVALID' });
  });
});

describe('padding', () => {
  it('is not disturbed by a broken row: the next run of the same slots is right', async () => {
    const backend = await createWasmBackend();
    const random = createRandom(5);
    // Widths that are no multiple of 4, so that every row has padding.
    const norm = makeDense('n', [6], 'f32', random, () => 1);
    const w = makeDense('w', [7, 6], 'f32', random);
    const weights = new Map([
      ['n', norm.data],
      ['w', w.data],
    ]);
    const six = { kind: 'f32', width: 6 } as const;
    const seven = { kind: 'f32', width: 7 } as const;
    const plan = makePlan({ x: six, h: six, y: seven, z: seven }, [
      { op: 'rmsNorm', input: 'x', weight: 'n', epsilon: 1e-5, out: 'h' },
      { op: 'denseMatMul', input: 'h', weight: 'w', out: 'y' },
      { op: 'siluMul', gate: 'y', up: 'y', out: 'z' },
      { op: 'add', input: 'z', out: 'y' },
    ]);
    const options = { capacity: 8, maxRows: 4 };
    const prepare = () => backend.prepare(plan, async (name) => weights.get(name)!, options);
    const x = drawActivations(random, 4 * 6);
    const [used, fresh] = [await prepare(), await prepare()];
    await used.write('x', new Float32Array(4 * 6).fill(Number.NaN));
    await used.run({ rows: 4, position: 0, logits: 'none' });
    expect((await used.read('y')).every(Number.isNaN)).toBe(true);
    for (const program of [used, fresh]) {
      await program.write('x', x);
      await program.run({ rows: 4, position: 0, logits: 'none' });
    }
    expect(await used.read('y')).toEqual(await fresh.read('y'));
    expect((await fresh.read('y')).every(Number.isFinite)).toBe(true);
  });
});

describe('exponential', () => {
  it('keeps the sigmoid within 2^-21 relative from -87 to 88, and to its limits beyond', async () => {
    const backend = await createWasmBackend();
    const width = 16_384;
    const slot = { kind: 'f32', width } as const;
    const plan = makePlan({ g: slot, u: slot, y: slot }, [{ op: 'siluMul', gate: 'g', up: 'u', out: 'y' }]);
    const program = await backend.prepare(plan, none, { capacity: 1, maxRows: 1 });
    const gate = Float32Array.from({ length: width }, (_, i) => -87 + (175 * i) / (width - 1));
    await program.write('g', gate);
    await program.write('u', new Float32Array(width).fill(1));
    await program.run({ rows: 1, position: 0, logits: 'none' });
    const y = await program.read('y');
    let worst = 0;
    gate.forEach((g, i) => {
      const exact = g / (1 + Math.exp(-g));
      if (g !== 0) worst = Math.max(worst, Math.abs(y[i]! / exact - 1));
    });
    expect(worst).toBeLessThan(2 ** -21);

    gate.set([-1e30, -200, 0, 200, 1e30, Number.NaN]);
    await program.write('g', gate);
    await program.run({ rows: 1, position: 0, logits: 'none' });
    const limits = await program.read('y');
    expect(Math.abs(limits[0]!)).toBeLessThan(1e30 * 2 ** -100);
    expect(Math.abs(limits[1]!)).toBeLessThan(2 ** -115);
    expect([...limits.slice(2, 6)]).toEqual([0, 200, Math.fround(1e30), Number.NaN]);
  });
});

describe('benchMatvec', () => {
  it('reports what it measured', async () => {
    const report = await benchMatvec({ rows: 33, columns: 100, groupSize: 32, seconds: 0.01 });
    expect(report).toMatchObject({ rows: 33, columns: 100, groupSize: 32 });
    expect(report.calls).toBeGreaterThan(0);
    expect(report.gweightsPerSecond).toBeGreaterThan(0);
    expect(report.gigabytesPerSecond).toBeGreaterThan(0);
    // 3 tiles: 4 groups of levels, 7 units of 16 columns, row sums; each array rounded up to 64
    expect(report.weightBytes).toBe(3 * (4 * 128 + 7 * 64) + 3 * 64);
  });

  it('refuses sizes it cannot use', async () => {
    for (const bad of [{ rows: 0 }, { columns: 1.5 }, { groupSize: 100 }, { seconds: 0 }])
      await expect(
        benchMatvec({ rows: 16, columns: 64, groupSize: 64, seconds: 0.01, ...bad }),
      ).rejects.toMatchObject({ code: 'BACKEND_OPTION' });
  });
});
