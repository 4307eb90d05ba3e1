// The baselines' steps on cases small enough to follow by hand, and against plain versions of themselves.
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { inverseCholesky, Workspace } from '../../linalg/index.ts';
import { drawFloats, makeHessian } from '../../linalg/testing/matrices.ts';
import { createArbRcMethod } from './arb-rc.ts';
import { createBiLlmMethod } from './billm.ts';
import { createGptqMethod } from './gptq.ts';
import { fitGrid, roundToGrid } from './grid.ts';
import { partitionBlock, SALIENT } from './partition.ts';
import { createPbLlmMethod } from './pb-llm.ts';
import { fitRun } from './residual.ts';
import { createRtnMethod } from './rtn.ts';

let space: Workspace;
beforeAll(async () => {
  space = await Workspace.create();
});

const AT = { name: 'test.weight', row: 0, column: 0 };

function identity(n: number): Float64Array {
  return Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
}

describe('fitGrid', () => {
  it('spans the values and has zero on it', () => {
    const values = Float32Array.of(-0.5, 0.25, 1, 0);
    expect(fitGrid(values, 0, 4, 2, AT)).toEqual({ scale: 0.5, zero: 1, largest: 3 });
    // All of one sign: the grid starts at zero.
    expect(fitGrid(values, 1, 2, 2, AT)).toMatchObject({ zero: 0 });
    expect(fitGrid(Float32Array.of(-3, -1), 0, 2, 2, AT)).toEqual({ scale: 1, zero: 3, largest: 3 });
    expect(fitGrid(values, 3, 1, 4, AT)).toEqual({ scale: 0, zero: 0, largest: 15 });
  });

  it('rounds every value of its range within half a step, for any range that f16 takes', () => {
    const value = fc.float({ min: -6e4, max: 6e4, noNaN: true });
    fc.assert(
      fc.property(
        fc.array(value, { minLength: 1, maxLength: 9 }),
        fc.integer({ min: 2, max: 8 }),
        (list, bits) => {
          const values = Float32Array.from(list);
          const grid = fitGrid(values, 0, values.length, bits, AT);
          expect(grid.zero).toBeGreaterThanOrEqual(0);
          expect(grid.zero).toBeLessThanOrEqual(grid.largest);
          // Half a step; rounding zero moves the ends of the grid by another half; f16 rounds the scale by 2^-11 of the
          // range at most, or by 2^-25 a step among denormals.
          const slack = grid.largest * (grid.scale * 2 ** -11 + 2 ** -25);
          for (const v of values)
            expect(Math.abs(v - roundToGrid(v, grid))).toBeLessThanOrEqual(grid.scale + slack);
        },
      ),
    );
  });
});

describe('RTN', () => {
  it('has a grid for each row and 128 columns', () => {
    const weights = new Float32Array(2 * 130);
    weights.set([-1, 0.4, 2], 0);
    weights.set([8, 30], 128);
    weights.set([1.5], 130);
    const { approximation, bytes } = createRtnMethod(2).quantize(
      { name: 'x', rows: 2, columns: 130, weights, hessian: new Float32Array(0) },
      space,
    );
    expect([...approximation.subarray(0, 3)]).toEqual([-1, 0, 2]);
    expect([...approximation.subarray(128, 131)]).toEqual([10, 30, 1.5]);
    // Two planes of 2 rows of 160 bits; 4 scales of 2 bytes; 4 zeros of 2 bits.
    expect(bytes).toBe(2 * 2 * 20 + 8 + 1);
  });
});

describe('GPTQ', () => {
  it('two columns by hand: the error of the first moves the second', () => {
    // H = [[1, 0.5], [0.5, 1]] but for damping of 0.01: the second weight takes 0.5 / 1.01 of the first one's error.
    const { approximation } = createGptqMethod(2).quantize(
      {
        name: 'x',
        rows: 1,
        columns: 4,
        weights: Float32Array.of(0.4, 1.4, 3, 0),
        hessian: Float32Array.of(1, 0.5, 0, 0, 0.5, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1),
      },
      space,
    );
    // On the grid 0, 1, 2, 3: 0.4 becomes 0, and 1.4, which alone would be 1, is 1.4 + 0.4 * 0.495 = 1.598 by then.
    expect([...approximation]).toEqual([0, 2, 3, 0]);
  });

  it('equals a plain column loop with grids found on the way', () => {
    const [rows, columns, bits] = [7, 300, 3];
    const weights = drawFloats(1, rows * columns);
    const hessian = makeHessian(2, columns, 150);
    const { u } = inverseCholesky(space, Float64Array.from(hessian), columns, { damping: 0.01 });
    const expected = new Float32Array(rows * columns);
    for (let row = 0; row < rows; row++) {
      const w = weights.slice(row * columns, (row + 1) * columns);
      let grid = fitGrid(w, 0, 1, bits, AT);
      for (let j = 0; j < columns; j++) {
        if (j % 128 === 0) grid = fitGrid(w, j, Math.min(128, columns - j), bits, AT);
        expected[row * columns + j] = roundToGrid(w[j]!, grid);
        const error = (w[j]! - expected[row * columns + j]!) / u[j * columns + j]!;
        for (let k = j + 1; k < columns; k++) w[k]! -= error * u[j * columns + k]!;
      }
    }
    const given = createGptqMethod(bits).quantize({ name: 'x', rows, columns, weights, hessian }, space);
    // Sums in another order differ in their last bits, which can turn a code, rarely, and all behind it.
    const different = expected.filter((value, i) => Math.abs(value - given.approximation[i]!) > 1e-3).length;
    expect(different).toBeLessThan(0.02 * rows * columns);
  });
});

describe('fitRun', () => {
  const fit = new Float64Array(4);

  it('by hand', () => {
    // Mean 1, distances 3, 1, 1, 3 from it: 1 +- 2, errors 1 each.
    expect(fitRun(Float64Array.of(-2, 0, 2, 4), 0, 4, 1, fit)).toBe(4);
    expect([...fit]).toEqual([1, 2, 0, 0]);
    // What is left, -1, 1, -1, 1, the second pass takes whole.
    expect(fitRun(Float64Array.of(-2, 0, 2, 4), 0, 4, 2, fit)).toBe(0);
    expect([...fit]).toEqual([1, 2, 0, 1]);
    expect(fitRun(Float64Array.of(7, 5), 1, 1, 2, fit)).toBe(0);
    expect([...fit]).toEqual([0, 0, 0, 0]);
  });

  it('returns the error of its fit, which a second pass lowers', () => {
    const list = fc.array(fc.double({ min: -10, max: 10, noNaN: true }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(list, (values) => {
        const error = (order: 1 | 2) => fitRun(Float64Array.from(values), 0, values.length, order, fit);
        const first = error(1);
        const second = error(2);
        const [mean1, alpha1, mean2, alpha2] = fit as unknown as [number, number, number, number];
        const direct = values.reduce((sum, value) => {
          const rest = value - mean1 - (value < mean1 ? -alpha1 : alpha1) - mean2;
          return sum + (Math.abs(rest) - alpha2) ** 2;
        }, 0);
        const scale = values.reduce((sum, value) => sum + value * value, 0);
        expect(Math.abs(second - direct)).toBeLessThanOrEqual(1e-12 * scale + 1e-300);
        expect(second).toBeLessThanOrEqual(first + 1e-12 * scale + 1e-300);
      }),
    );
  });
});

describe('partitionBlock', () => {
  const block = (rows: number, width: number, values: Float32Array) => ({
    ...{ name: 'x', rows, first: 0, width, u: identity(width), values },
  });

  it('finds the columns that stand out, and splits the others by size', () => {
    const [rows, width] = [16, 64];
    const values = drawFloats(4, rows * width).map((value, i) => {
      const column = i % width;
      if (column === 9 || column === 50) return 40 * Math.sign(value) * (1 + 0.1 * value);
      return Math.abs(value) < 0.8 ? 0.1 * value : value;
    });
    const { zones, salientColumns } = partitionBlock(block(rows, width, values), false);
    expect(salientColumns).toBe(2);
    const expected = values.map((value, i) => {
      const column = i % width;
      if (column === 9 || column === 50) return SALIENT;
      return Math.abs(value) < 0.5 ? 0 : 1;
    });
    // The gap between small and large can lie between two whole percentiles.
    const wrong = expected.filter((zone, i) => zone !== zones[i]).length;
    expect(wrong).toBeLessThanOrEqual(0.01 * rows * width);
  });

  it('splits salient columns too when asked, and leaves the other zones as they are', () => {
    const [rows, width] = [32, 100];
    const given = block(rows, width, drawFloats(6, rows * width));
    const plain = partitionBlock(given, false);
    const split = partitionBlock(given, true);
    expect(split.salientColumns).toBe(plain.salientColumns);
    expect(split.zones.map((zone) => (zone & SALIENT ? SALIENT : zone))).toEqual(plain.zones);
    expect(split.zones.includes(2) && split.zones.includes(3)).toBe(true);
  });

  it('takes the saliency that the Hessian gives', () => {
    const [rows, width] = [8, 40];
    const given = block(rows, width, drawFloats(7, rows * width));
    given.u[11 * (width + 1)] = 0.01;
    const { zones } = partitionBlock(given, false);
    for (let row = 0; row < rows; row++) expect(zones[row * width + 11]).toBe(SALIENT);
  });
});

describe('levels of a row and block', () => {
  const [rows, columns] = [12, 128];
  const problem = () => ({
    name: 'x',
    rows,
    columns,
    weights: drawFloats(31, rows * columns),
    hessian: makeHessian(32, columns, 200),
  });
  const distinct = (values: Float32Array, row: number) =>
    new Set(values.subarray(row * columns, (row + 1) * columns)).size;

  it('BiLLM: two each in two groups and four salient ones, at most', () => {
    const { approximation } = createBiLlmMethod().quantize(problem(), space);
    for (let row = 0; row < rows; row++) {
      expect(distinct(approximation, row)).toBeLessThanOrEqual(8);
      expect(distinct(approximation, row)).toBeGreaterThan(4);
    }
  });

  it('PB-LLM: two, and salient ones on the 8-bit grid of their row', () => {
    const given = problem();
    const { approximation } = createPbLlmMethod().quantize(given, space);
    let binary = 0;
    for (let row = 0; row < rows; row++) {
      const values = approximation.subarray(row * columns, (row + 1) * columns);
      const counts = new Map<number, number>();
      for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
      const common = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 2);
      binary += common[0]![1] + common[1]![1];
      const grid = fitGrid(given.weights, row * columns, columns, 8, AT);
      for (const value of values)
        if (!common.some(([level]) => level === value))
          expect(value).toBeCloseTo(Math.fround(roundToGrid(value, grid)), 6);
    }
    expect(binary / (rows * columns)).toBeCloseTo(0.9, 2);
  });
});

describe('ARB-RC', () => {
  it('gives back what scales of rows and columns make', () => {
    // |w| = r_i c_j with signs at random is in its reach, whatever the zones; f16 rounds two factors.
    const [rows, columns] = [16, 96];
    const noise = drawFloats(41, rows * columns);
    const r = drawFloats(42, rows).map((value) => 1.5 + value / 2);
    const c = drawFloats(43, columns).map((value) => 1.5 + value / 2);
    const weights = noise.map((value, i) => {
      const size = r[Math.floor(i / columns)]! * c[i % columns]!;
      return value < 0 ? -size : size;
    });
    const hessian = Float32Array.from(identity(columns));
    const { approximation } = createArbRcMethod().quantize(
      { name: 'x', rows, columns, weights, hessian },
      space,
    );
    const error = weights.reduce((sum, weight, i) => sum + (weight - approximation[i]!) ** 2, 0);
    const size = weights.reduce((sum, weight) => sum + weight ** 2, 0);
    expect(error / size).toBeLessThan(1e-5);
    const billm = createBiLlmMethod().quantize({ name: 'x', rows, columns, weights, hessian }, space);
    const worse = weights.reduce((sum, weight, i) => sum + (weight - billm.approximation[i]!) ** 2, 0);
    expect(worse / size).toBeGreaterThan(1e-3);
  });
});
