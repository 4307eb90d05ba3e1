// Matrix products of the wasm backend against plain loops in double precision, over random shapes: integer results exact,
// others within the bounds derived in testkit.
import type { Backend, ExecutionPlan, Operation } from '@duobit/core';
import {
  createRandom,
  drawActivations,
  drawInteger,
  drawIntegers,
  type MadeTensor,
  makeDense,
  makeInteger,
  makeW11,
  tolerance,
} from '@duobit/testkit';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { createWasmBackend } from './backend.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await createWasmBackend();
});

/** Mostly random sizes, with the awkward ones among them. */
const shape = fc.record({
  columns: fc.oneof(fc.integer({ min: 1, max: 600 }), fc.constantFrom(1, 16, 64, 172, 576)),
  outputs: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(1, 16, 17, 192)),
  rows: fc.integer({ min: 1, max: 7 }),
  groupSize: fc.constantFrom(32, 64, 128, 256),
  seed: fc.integer(),
});

/** Runs x through one product; with `coded` on 4-bit codes. `used` are the activations that the product saw. */
async function multiply(
  tensor: MadeTensor,
  x: Float32Array,
  op: 'w11MatMul' | 'denseMatMul',
  coded = false,
  on = backend,
) {
  const rows = x.length / tensor.columns;
  const product: Operation = { op, input: coded ? 'codes' : 'x', weight: 'w', out: 'y' };
  const quantizer = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null } as const;
  const plan: ExecutionPlan = {
    slots: {
      x: { kind: 'f32', width: tensor.columns },
      codes: { kind: 'a4', width: tensor.columns },
      y: { kind: 'f32', width: tensor.rows },
    },
    operations: coded
      ? [{ op: 'quantizeActivations', input: 'x', quantizer, out: 'codes' }, product]
      : [product],
    cacheLayers: 0,
    heads: { headCount: 1, kvHeadCount: 1, headSize: 2 },
    ropeFrequencies: new Float64Array(1),
  };
  const program = await on.prepare(plan, async () => tensor.data, { capacity: rows, maxRows: rows });
  await program.write('x', x);
  await program.run({ rows, position: 0, logits: 'none' });
  const y = await program.read('y');
  const used = coded ? await program.read('codes') : x;
  await program.dispose();
  return { y, used };
}

/** sum over k of term(weight index, activation). */
function sumOver(
  tensor: MadeTensor,
  n: number,
  x: Float32Array,
  row: number,
  term: (at: number, x: number) => number,
): number {
  let sum = 0;
  for (let k = 0; k < tensor.columns; k++) sum += term(n * tensor.columns + k, x[row * tensor.columns + k]!);
  return sum;
}

/** Fails on the first result further from the exact one than its bound. */
function expectWithin(
  tensor: MadeTensor,
  x: Float32Array,
  y: Float32Array,
  bound: (n: number, row: number, absolute: number) => number,
): void {
  for (let row = 0; row < x.length / tensor.columns; row++)
    for (let n = 0; n < tensor.rows; n++) {
      const exact = sumOver(tensor, n, x, row, (at, value) => tensor.weights[at]! * value);
      const absolute = sumOver(tensor, n, x, row, (at, value) => tensor.magnitudes[at]! * Math.abs(value));
      const error = Math.abs(y[row * tensor.rows + n]! - exact);
      // Negated, so that NaN fails.
      if (!(error <= bound(n, row, absolute)))
        expect.fail(`row ${row}, output ${n}: ${y[row * tensor.rows + n]}, exact ${exact}, error ${error}`);
    }
}

/** Rows of lo + step * code with whole codes 0 … 15, both ends present, so that quantizing gives them back exactly. */
function drawCodedRows(random: () => number, rows: number, columns: number): Float32Array {
  const x = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const lo = drawInteger(random, -20, 0);
    const step = drawInteger(random, 1, 3);
    for (let k = 0; k < columns; k++) x[row * columns + k] = lo + step * drawInteger(random, 0, 15);
    x[row * columns] = lo;
    if (columns > 1) x[row * columns + 1] = lo + 15 * step;
  }
  return x;
}

describe('W(1+1) on 4-bit codes', () => {
  it('gives the exact integers for whole levels and activations', async () => {
    await fc.assert(
      fc.asyncProperty(shape, fc.boolean(), async ({ columns, outputs, rows, groupSize, seed }, offsets) => {
        const random = createRandom(seed);
        const alpha = () => drawInteger(random, -3, 3);
        const mu = () => drawInteger(random, -4, 4);
        const tensor = makeW11('w', outputs, columns, { groupSize, offsets, alpha, mu }, random);
        const x = drawCodedRows(random, rows, columns);
        const { y, used } = await multiply(tensor, x, 'w11MatMul', true);
        expect(used).toEqual(x);
        const exact = Float32Array.from(y, (_, i) =>
          sumOver(
            tensor,
            i % outputs,
            x,
            Math.floor(i / outputs),
            (at, value) => tensor.weights[at]! * value,
          ),
        );
        // Zero is compared without its sign.
        expect(y.map((value) => value + 0)).toEqual(exact.map((value) => value + 0));
      }),
      { numRuns: 120 },
    );
  });

  it('takes the largest group sum: 256 codes of 15 under every weight', async () => {
    const random = createRandom(1);
    const tensor = makeW11(
      'w',
      33,
      512,
      { groupSize: 256, offsets: true, alpha: () => 2, mu: () => 1 },
      random,
    );
    const ones = tensor.data.planes;
    ones.sign!.fill(255);
    ones.bitmap!.fill(255);
    const x = new Float32Array(512).fill(15);
    x[0] = 0;
    const { y } = await multiply(tensor, x, 'w11MatMul', true);
    expect(y).toEqual(new Float32Array(33).fill(3 * 15 * 511));
  });

  it('stays within the derived bound for real levels and activations', async () => {
    await fc.assert(
      fc.asyncProperty(shape, fc.boolean(), async ({ columns, outputs, rows, groupSize, seed }, offsets) => {
        const random = createRandom(seed);
        const tensor = makeW11('w', outputs, columns, { groupSize, offsets }, random);
        const { y, used } = await multiply(
          tensor,
          drawActivations(random, rows * columns),
          'w11MatMul',
          true,
        );
        const groups = Math.ceil(columns / groupSize);
        // x^ = lo + step * code is itself rounded once when it is read, hence gamma(1) more.
        expectWithin(tensor, used, y, (n, row) => {
          const lo = Math.min(...used.subarray(row * columns, (row + 1) * columns));
          const constant = sumOver(tensor, n, used, row, (at) => tensor.magnitudes[at]! * Math.abs(lo));
          const codes = sumOver(
            tensor,
            n,
            used,
            row,
            (at, value) => tensor.magnitudes[at]! * Math.abs(value - lo),
          );
          return tolerance.w11CodedBound(groups, codes, constant) + tolerance.gamma(3) * (codes + constant);
        });
      }),
      { numRuns: 80 },
    );
  });

  it('reads levels of every f16 magnitude, subnormal ones included', async () => {
    const random = createRandom(2);
    for (const size of [2 ** -24, 2 ** -20, 2 ** -14, 1, 2 ** 11, 32768]) {
      const level = () => drawInteger(random, 0, 1) * size;
      const tensor = makeW11('w', 20, 64, { groupSize: 32, offsets: true, alpha: level, mu: level }, random);
      const x = drawCodedRows(random, 1, 64);
      const { y } = await multiply(tensor, x, 'w11MatMul', true);
      const exact = Float32Array.from(y, (_, n) =>
        sumOver(tensor, n, x, 0, (at, value) => tensor.weights[at]! * value),
      );
      expect(y.map((value) => value + 0)).toEqual(exact.map((value) => value + 0));
    }
  });
});

describe('W(1+1) on 4-bit codes, every way', () => {
  it('gives the same bits row by row, in bands of pieces of a tile, and without relaxed SIMD', async () => {
    const plain = await createWasmBackend({ relaxedSimd: false });
    for (const groupSize of [32, 128, 256]) {
      const random = createRandom(groupSize);
      // More rows than a band, more columns than are expanded at a time, the last group and tile short.
      const tensor = makeW11('w', 40, 3500, { groupSize, offsets: true }, random);
      const x = drawActivations(random, 40 * tensor.columns);
      const { y } = await multiply(tensor, x, 'w11MatMul', true);
      expect((await multiply(tensor, x, 'w11MatMul', true, plain)).y).toEqual(y);
      for (const row of [0, 31, 32, 39]) {
        const one = x.slice(row * tensor.columns, (row + 1) * tensor.columns);
        const wanted = y.slice(row * tensor.rows, (row + 1) * tensor.rows);
        expect((await multiply(tensor, one, 'w11MatMul', true)).y).toEqual(wanted);
        expect((await multiply(tensor, one, 'w11MatMul', true, plain)).y).toEqual(wanted);
      }
    }
  });
});

describe('W(1+1) on f32 activations', () => {
  it('stays within the derived bound', async () => {
    await fc.assert(
      fc.asyncProperty(shape, fc.boolean(), async ({ columns, outputs, rows, groupSize, seed }, offsets) => {
        const random = createRandom(seed);
        const tensor = makeW11('w', outputs, columns, { groupSize, offsets }, random);
        const x = drawActivations(random, rows * columns);
        const { y } = await multiply(tensor, x, 'w11MatMul');
        const groups = Math.ceil(columns / groupSize);
        expectWithin(tensor, x, y, (_n, _row, absolute) => tolerance.w11Bound(columns, groups, absolute));
      }),
      { numRuns: 40 },
    );
  });
});

describe('dense products', () => {
  it('are exact on whole numbers and within the bound otherwise, for f32, f16 and bf16', async () => {
    await fc.assert(
      fc.asyncProperty(
        shape,
        fc.constantFrom('f32' as const, 'f16' as const, 'bf16' as const),
        async ({ columns, outputs, rows, seed }, kind) => {
          const random = createRandom(seed);
          const whole = makeDense('w', [outputs, columns], kind, random, (source) =>
            drawInteger(source, -9, 9),
          );
          const integers = drawIntegers(random, rows * columns, -50, 50);
          expectWithin(whole, integers, (await multiply(whole, integers, 'denseMatMul')).y, () => 0);
          const real = makeDense('w', [outputs, columns], kind, random);
          const x = drawActivations(random, rows * columns);
          expectWithin(real, x, (await multiply(real, x, 'denseMatMul')).y, (_n, _row, absolute) =>
            tolerance.dotBound(columns, absolute),
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  it('cover more rows than one cache band', async () => {
    const random = createRandom(3);
    const tensor = makeDense('w', [7, 20], 'f32', random, (source) => drawInteger(source, -9, 9));
    const x = drawIntegers(random, 110 * 20, -50, 50);
    expectWithin(tensor, x, (await multiply(tensor, x, 'denseMatMul')).y, () => 0);
  });

  it('stay within the bound of 16-bit activations for int8 and int4', async () => {
    await fc.assert(
      fc.asyncProperty(
        shape,
        fc.constantFrom('int8' as const, 'int4' as const),
        async ({ columns, outputs, rows, groupSize, seed }, kind) => {
          const random = createRandom(seed);
          const tensor = makeInteger('w', outputs, columns, kind, groupSize, random);
          const x = drawActivations(random, rows * columns);
          expectWithin(tensor, x, (await multiply(tensor, x, 'denseMatMul')).y, (n, row, absolute) => {
            let slack = 0;
            for (let first = 0; first < columns; first += groupSize) {
              const end = Math.min(columns, first + groupSize);
              const top = Math.max(...x.subarray(row * columns + first, row * columns + end).map(Math.abs));
              for (let k = first; k < end; k++) slack += top * Math.abs(tensor.weights[n * columns + k]!);
            }
            return tolerance.integerDotBound(columns, absolute, slack, 0);
          });
        },
      ),
      { numRuns: 80 },
    );
  });
});
