// Products that make one row's codes for themselves, on the emulator: which kernel takes which row, and that norms of rows that a kernel
// has in registers are those of rows in shared memory.
import { createRandom, type ExecutionPlan, type Operation } from '@duobit/core';
import { makeDense, makeW11 } from '@duobit/testkit';
import { describe, expect, it, vi } from 'vitest';
import { createCudaBackend } from './backend.ts';
import { Device } from './device.ts';
import { buildEmulator } from './testing/emulator.ts';

const { path: library, reason } = buildEmulator();
const ROWS = 33;

/** Norm, codes and product, twice over, so that nobody can look at the first's norm and codes. */
function planOf(columns: number): ExecutionPlan {
  const quantizer = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null } as const;
  const operations = ['y', 'z'].flatMap((out): Operation[] => [
    { op: 'rmsNorm', input: 'x', weight: 'n', epsilon: 1e-5, out: 'x.n' },
    { op: 'quantizeActivations', input: 'x.n', quantizer, out: 'x.a4' },
    { op: 'w11MatMul', input: 'x.a4', weight: 'w', out },
  ]);
  const f32 = (width: number) => ({ kind: 'f32', width }) as const;
  return {
    slots: {
      x: f32(columns),
      'x.n': f32(columns),
      'x.a4': { kind: 'a4', width: columns },
      y: f32(ROWS),
      z: f32(ROWS),
    },
    operations,
    cacheLayers: 0,
    heads: { headCount: 1, kvHeadCount: 1, headSize: 2 },
    ropeFrequencies: new Float64Array([1]),
  };
}

describe.skipIf(reason !== null)(`one row${reason === null ? '' : `: ${reason}`}`, () => {
  it.each([
    [128, 576, 'w11_row2048_g128o'],
    [128, 2048, 'w11_row2048_g128o'],
    [64, 2980, 'w11_row4096_g64o'],
    [256, 4096, 'w11_row4096_g256o'],
    [32, 2980, 'w11_row_g32o'],
    [128, 2978, 'w11_row_g128o'],
    [128, 4100, 'w11_row_g128o'],
  ])('groups of %i, %i columns: %s', async (groupSize, columns, kernel) => {
    const random = createRandom(columns);
    const draw = () => random() - 0.5;
    const norm = makeDense('n', [columns], 'f32', random, () => 1 + draw());
    const weight = makeW11('w', ROWS, columns, { groupSize, offsets: true }, random);
    const tensors = new Map([norm, weight].map(({ data }) => [data.info.name, data]));
    const backend = await createCudaBackend({ library });
    const launch = vi.spyOn(Device.prototype, 'launch');
    try {
      const read = async (name: string) => tensors.get(name)!;
      const program = await backend.prepare(planOf(columns), read, { capacity: 2, maxRows: 2 });
      const row = Float32Array.from({ length: columns }, draw);
      await program.write('x', Float32Array.of(...row, ...row));
      await program.run({ rows: 2, position: 0, logits: 'none' });
      const both = await program.read('y');
      launch.mockClear();
      await program.run({ rows: 1, position: 0, logits: 'none' });
      const one = await program.read('y');
      expect(launch.mock.calls.map(([name]) => name)).toContain(kernel);
      // Codes are the same but where a value is within a few roundings of the middle between two, which no value of these rows is.
      const scale = Math.max(...both.map(Math.abs));
      for (const [i, value] of one.entries()) expect(Math.abs(value - both[i]!) / scale).toBeLessThan(1e-5);
      await program.dispose();
    } finally {
      launch.mockRestore();
      await backend.dispose();
    }
  });
});
