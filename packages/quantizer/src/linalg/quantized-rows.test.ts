// Coordinate descent and the refit of levels: bits of the descent against plain loops that round as it does, sums of the
// refit against plain double precision, and that neither raises the loss.
import { DuobitError } from '@duobit/format';
import { tolerance } from '@duobit/testkit';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { descend } from './descent.ts';
import type { QuantizedRows } from './quantized-rows.ts';
import { levelSums, refitLevels } from './refit.ts';
import { drawFloats, gamma64, makeHessian } from './testing/matrices.ts';
import { Workspace } from './workspace.ts';

let space: Workspace;
beforeAll(async () => {
  space = await Workspace.create();
});

const round = Math.fround;
const DEPTH = 256;

function makeRows(
  seed: number,
  rows: number,
  columns: number,
  groupSize: number,
  rank = columns,
): QuantizedRows {
  const groups = Math.ceil(columns / groupSize);
  const weights = drawFloats(seed, rows * columns);
  return {
    hessian: makeHessian(seed + 1, columns, rank),
    weights,
    codes: Uint8Array.from(weights, (w) => Math.min(3, Math.max(0, Math.round(2 * w + 1.5)))),
    levels: drawFloats(seed + 2, rows * groups * 4).map((x, i) => ((i % 4) - 1.5) / 2 + x / 10),
    rows,
    columns,
    groupSize,
  };
}

function levelOf({ codes, levels, columns, groupSize }: QuantizedRows, row: number, j: number): number {
  const group = row * Math.ceil(columns / groupSize) + Math.floor(j / groupSize);
  return levels[group * 4 + codes[row * columns + j]!]!;
}

/** (w - q)^T H (w - q) of one row in double precision. */
function lossOf(given: QuantizedRows, row: number): number {
  const { hessian, weights, columns } = given;
  const error = Float64Array.from({ length: columns }, (_, j) => {
    return weights[row * columns + j]! - levelOf(given, row, j);
  });
  let loss = 0;
  for (let i = 0; i < columns; i++)
    for (let j = 0; j < columns; j++) loss += error[i]! * hessian[i * columns + j]! * error[j]!;
  return loss;
}

/**
 * What rounding can add to the loss in one pass: each column changes at most once, by a step s and with it the loss by
 * 2 (h s / 2 + g) s, in which g, a sum of at most 2 columns + 1 terms, is off by gamma times the sum of their sizes.
 */
function descentSlack(given: QuantizedRows, row: number): number {
  const { hessian, weights, levels, columns } = given;
  const step = 2 * levels.reduce((most, level) => Math.max(most, Math.abs(level)), 0);
  let [residual, line] = [0, 0];
  for (let j = 0; j < columns; j++) {
    residual = Math.max(residual, Math.abs(weights[row * columns + j]! - levelOf(given, row, j)));
    const sizes = hessian.subarray(j * columns, (j + 1) * columns);
    line = Math.max(
      line,
      sizes.reduce((sum, h) => sum + Math.abs(h), 0),
    );
  }
  return 2 * columns * step * tolerance.gamma(2 * columns + 2) * line * (residual + step);
}

/** What rounding the levels to f32, by d, can add to the loss: 2 |d| |A l - r| + |d| |A| |d|; l is off by d itself. */
function refitSlack(given: QuantizedRows, row: number): number {
  const { a, r } = levelSums(space, given, row);
  const side = r.length;
  const levels = given.levels.subarray(row * side, (row + 1) * side);
  const rounding = Float64Array.from(levels, (level) => tolerance.UNIT * Math.abs(level));
  let slack = 0;
  for (let i = 0; i < side; i++) {
    let gradient = -r[i]!;
    let spread = 0;
    for (let j = 0; j < side; j++) {
      gradient += a[i * side + j]! * levels[j]!;
      spread += Math.abs(a[i * side + j]!) * rounding[j]!;
    }
    slack += rounding[i]! * (2 * Math.abs(gradient) + 3 * spread);
  }
  return slack;
}

const copy = (given: QuantizedRows): QuantizedRows => ({
  ...given,
  codes: given.codes.slice(),
  levels: given.levels.slice(),
});

/** As the kernel: gradient in f32 by blocks of DEPTH, choices in f64. */
function plainDescent(given: QuantizedRows): number {
  const { hessian, weights, codes, levels, rows, columns, groupSize } = given;
  const groups = Math.ceil(columns / groupSize);
  let changes = 0;
  for (let row = 0; row < rows; row++) {
    const residual = Float32Array.from({ length: columns }, (_, j) => {
      return weights[row * columns + j]! - levelOf(given, row, j);
    });
    const g = Float32Array.from({ length: columns }, (_, j) => {
      let value = 0;
      for (let start = 0; start < columns; start += DEPTH) {
        let sum = 0;
        for (let k = start; k < Math.min(columns, start + DEPTH); k++)
          sum = round(sum + round(residual[k]! * hessian[k * columns + j]!));
        value = round(value - sum);
      }
      return value;
    });
    for (let j = 0; j < columns; j++) {
      const table = (row * groups + Math.floor(j / groupSize)) * 4;
      const present = codes[row * columns + j]!;
      let best = present;
      let least = 0;
      for (let i = 0; i < 4; i++) {
        const step = levels[table + i]! - levels[table + present]!;
        const change = (0.5 * hessian[j * columns + j]! * step + g[j]!) * step;
        if (change < least) {
          least = change;
          best = i;
        }
      }
      if (best === present) continue;
      changes++;
      codes[row * columns + j] = best;
      const step = round(levels[table + best]! - levels[table + present]!);
      for (let k = 0; k < columns; k++) g[k] = g[k]! + round(step * hessian[j * columns + k]!);
    }
  }
  return changes;
}

describe('descend', () => {
  it('gives the codes of a plain loop for any shape, and raises no loss', () => {
    const property = fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 70 }),
      fc.integer({ min: 1, max: 40 }),
      fc.nat(),
      (rows, columns, groupSize, seed) => {
        const given = makeRows(seed, rows, columns, groupSize);
        const expected = copy(given);
        const found = copy(given);
        expect(descend(space, found)).toBe(plainDescent(expected));
        expect(found.codes).toEqual(expected.codes);
        for (let row = 0; row < rows; row++)
          expect(lossOf(found, row)).toBeLessThanOrEqual(lossOf(given, row) + descentSlack(given, row));
      },
    );
    fc.assert(property, { numRuns: 60 });
  });

  it('takes many rows over several blocks of the inner index, and ends where no change helps', () => {
    const given = makeRows(1, 80, 520, 128, 260);
    const expected = copy(given);
    const losses = () => Array.from({ length: 80 }, (_, row) => lossOf(given, row)).reduce((a, b) => a + b);
    const before = losses();
    let changes = descend(space, given);
    expect(changes).toBe(plainDescent(expected));
    expect(given.codes).toEqual(expected.codes);
    for (let pass = 0; pass < 60 && changes > 0; pass++) changes = descend(space, given);
    expect(changes).toBe(0);
    expect(losses()).toBeLessThan(0.8 * before);
  });

  it('leaves columns without curvature alone', () => {
    const given = { ...makeRows(1, 3, 10, 5), hessian: new Float32Array(100) };
    const before = given.codes.slice();
    expect(descend(space, given)).toBe(0);
    expect(given.codes).toEqual(before);
  });

  it('refuses what does not fit', () => {
    const given = makeRows(1, 2, 8, 4);
    const code = (change: Partial<QuantizedRows>) => {
      try {
        descend(space, { ...given, ...change });
      } catch (error) {
        if (error instanceof DuobitError) return `${error.code} ${error.where}`;
      }
      return 'none';
    };
    expect(code({ rows: 3 })).toBe('LINALG_SHAPE weights');
    expect(code({ groupSize: 0 })).toBe('LINALG_SHAPE groupSize');
    expect(code({ groupSize: 2 })).toBe('LINALG_SHAPE levels');
    expect(code({ codes: new Uint8Array(16).fill(4) })).toBe('LINALG_SHAPE codes');
    expect(code({ hessian: new Float32Array(63) })).toBe('LINALG_SHAPE hessian');
  });
});

describe('levelSums', () => {
  it('gives B^T H B and B^T H w', () => {
    const property = fc.property(
      fc.oneof(fc.integer({ min: 1, max: 60 }), fc.constantFrom(511, 512, 513)),
      fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(128, 600)),
      fc.nat(),
      (columns, groupSize, seed) => {
        const given = makeRows(seed, 2, columns, groupSize, Math.min(columns, 20));
        const { hessian, weights, codes } = given;
        const { a, r } = levelSums(space, given, 1);
        const side = 4 * Math.ceil(columns / groupSize);
        const sums = new Float64Array(side * side);
        const sizes = new Float64Array(side * side);
        const right = new Float64Array(side);
        const rightSizes = new Float64Array(side);
        const bucket = (j: number) => Math.floor(j / groupSize) * 4 + codes[columns + j]!;
        for (let i = 0; i < columns; i++)
          for (let j = 0; j < columns; j++) {
            const value = hessian[i * columns + j]!;
            sums[bucket(i) * side + bucket(j)]! += value;
            sizes[bucket(i) * side + bucket(j)]! += Math.abs(value);
            right[bucket(i)]! += value * weights[columns + j]!;
            rightSizes[bucket(i)]! += Math.abs(value * weights[columns + j]!);
          }
        // Both sides sum at most columns^2 terms, whatever the order.
        const bound = 2 * gamma64(columns * columns + 2);
        expect(sums.findIndex((sum, i) => Math.abs(a[i]! - sum) > bound * sizes[i]!)).toBe(-1);
        expect(right.findIndex((sum, i) => Math.abs(r[i]! - sum) > bound * rightSizes[i]!)).toBe(-1);
      },
    );
    fc.assert(property, { numRuns: 40 });
  });

  it('refuses a row that is not there', () => {
    expect(() => levelSums(space, makeRows(1, 2, 8, 4), 2)).toThrow('row 2 is not one of 2');
  });
});

describe('refitLevels', () => {
  it('raises no loss and keeps levels that no weight uses, for any shape', () => {
    const property = fc.property(
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 60 }),
      fc.nat(),
      (rows, columns, groupSize, rank, seed) => {
        const given = makeRows(seed, rows, columns, groupSize, Math.min(rank, columns));
        const groups = Math.ceil(columns / groupSize);
        const before = copy(given);
        refitLevels(space, given);
        for (let row = 0; row < rows; row++) {
          // The last term is for the double precision of both losses.
          const loss = lossOf(before, row);
          const slack = refitSlack(given, row) + 1e-9 * (loss + columns);
          expect(lossOf(given, row)).toBeLessThanOrEqual(loss + slack);
          const used = new Set<number>();
          for (let j = 0; j < columns; j++)
            used.add((row * groups + Math.floor(j / groupSize)) * 4 + given.codes[row * columns + j]!);
          for (let i = row * groups * 4; i < (row + 1) * groups * 4; i++)
            if (!used.has(i)) expect(given.levels[i]).toBe(before.levels[i]);
        }
      },
    );
    fc.assert(property, { numRuns: 80 });
  });

  it('finds levels that made the weights', () => {
    const given = makeRows(3, 5, 96, 32);
    const truth = given.levels.slice();
    for (let row = 0; row < 5; row++)
      for (let j = 0; j < 96; j++) given.weights[row * 96 + j] = levelOf(given, row, j);
    for (let i = 0; i < truth.length; i++) given.levels[i]! += (i % 3) / 10 - 0.1;
    refitLevels(space, given, { ridge: 1e-9 });
    // A ridge of 1e-9 moves a level by its share of the starting error, 0.1 times the condition of A over 1e9.
    const used = new Set(Array.from({ length: 480 }, (_, i) => Math.floor(i / 32) * 4 + given.codes[i]!));
    for (const i of used) expect(given.levels[i]).toBeCloseTo(truth[i]!, 4);
  });

  it('finds symmetric levels, and keeps them symmetric', () => {
    const given = makeRows(5, 4, 96, 32);
    for (let i = 0; i < given.levels.length; i += 4) given.levels.set([-2 - i, -1, 1, 2 + i], i);
    const truth = given.levels.slice();
    for (let row = 0; row < 4; row++)
      for (let j = 0; j < 96; j++) given.weights[row * 96 + j] = levelOf(given, row, j);
    for (let i = 0; i < truth.length; i += 4) given.levels.set([-1.5 - i, -1.25, 1.25, 1.5 + i], i);
    refitLevels(space, given, { symmetric: true, ridge: 1e-9 });
    for (let i = 0; i < truth.length; i++)
      expect(Math.abs(given.levels[i]! - truth[i]!)).toBeLessThan(1e-4 * Math.abs(truth[i]!));
    for (let i = 0; i < truth.length; i += 4) {
      expect(given.levels[i]).toBe(-given.levels[i + 3]!);
      expect(given.levels[i + 1]).toBe(-given.levels[i + 2]!);
    }
  });

  it('keeps levels where H is zero, and refuses an H that no ridge repairs', () => {
    const given = { ...makeRows(1, 3, 10, 5), hessian: new Float32Array(100) };
    const before = given.levels.slice();
    refitLevels(space, given);
    expect(given.levels).toEqual(before);
    given.hessian.fill(-1);
    expect(() => refitLevels(space, given)).toThrow(/no least squares solution/);
    expect(() => refitLevels(space, given, { ridge: 0 })).toThrow('ridge is 0');
  });
});
