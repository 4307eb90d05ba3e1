// The steps of GPTQ against plain loops that round to f32 after each operation, as the kernels promise to: bit for bit, so
// that no machine can differ. (A sum, product or quotient of two f32 that is rounded to f64 and then to f32 is rounded
// correctly: 53 >= 2 * 24 + 2.)
import { DuobitError } from '@duobit/format';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { inverseCholesky } from './cholesky.ts';
import { errorInBlock, subtractProduct } from './gptq.ts';
import { drawFloats, drawUniform, makeDefinite, multiplyTransposed, sameBits } from './testing/matrices.ts';
import { Workspace } from './workspace.ts';

let space: Workspace;
beforeAll(async () => {
  space = await Workspace.create();
});

const round = Math.fround;
/** Inner length that the kernel sums at a time. */
const DEPTH = 256;

interface Cut {
  readonly offset: number;
  readonly stride: number;
}

/** C -= A B on flat arrays, A and B contiguous. */
function plainProduct(
  c: Float32Array,
  { offset, stride }: Cut,
  a: Float32Array,
  b: Float32Array,
  rows: number,
  columns: number,
  depth: number,
): void {
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++)
      for (let start = 0; start < depth; start += DEPTH) {
        let sum = 0;
        for (let k = start; k < Math.min(depth, start + DEPTH); k++)
          sum = round(sum + round(a[i * depth + k]! * b[k * columns + j]!));
        c[offset + i * stride + j]! -= sum;
      }
}

/** The nearest level, ties to the lower; errors; corrections. */
function plainBlock(
  weights: Float32Array,
  u: Float32Array,
  levels: Float32Array,
  rows: number,
  width: number,
) {
  const count = levels.length / rows;
  const w = weights.slice();
  const codes = new Uint8Array(rows * width);
  const errors = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++)
    for (let j = 0; j < width; j++) {
      const value = w[row * width + j]!;
      let code = 0;
      for (let i = 1; i < count; i++) {
        const at = (index: number) => Math.abs(value - levels[row * count + index]!);
        if (at(i) < at(code)) code = i;
      }
      const error = round(round(value - levels[row * count + code]!) / u[j * width + j]!);
      codes[row * width + j] = code;
      errors[row * width + j] = error;
      for (let k = j + 1; k < width; k++) w[row * width + k]! -= round(error * u[j * width + k]!);
    }
  return { codes, errors };
}

function drawLevels(seed: number, rows: number, count: number): Float32Array<ArrayBuffer> {
  const levels = drawFloats(seed, rows * count);
  for (let row = 0; row < rows; row++) levels.subarray(row * count, (row + 1) * count).sort();
  return levels;
}

const at = (run: () => unknown) => {
  try {
    run();
  } catch (error) {
    if (error instanceof DuobitError) return `${error.code} ${error.where}`;
  }
  return 'none';
};

describe('subtractProduct', () => {
  it('gives the bits of a plain loop for any shape, offset and stride, and leaves the rest alone', () => {
    const size = fc.integer({ min: 1, max: 40 });
    const property = fc.property(
      size,
      size,
      fc.oneof(size, fc.integer({ min: 250, max: 520 })),
      fc.nat(9),
      fc.nat(9),
      fc.nat(),
      (rows, columns, depth, offset, gap, seed) => {
        const stride = columns + gap;
        const a = drawFloats(seed, rows * depth);
        const b = drawFloats(seed + 1, depth * columns);
        const c = drawFloats(seed + 2, offset + rows * stride);
        const expected = c.slice();
        plainProduct(expected, { offset, stride }, a, b, rows, columns, depth);
        subtractProduct(
          space,
          { values: c, offset, stride },
          { values: a },
          { values: b },
          rows,
          columns,
          depth,
        );
        expect(c).toEqual(expected);
      },
    );
    fc.assert(property, { numRuns: 80 });
  });

  it('takes parts of larger matrices, f64 factors and more rows than a block', () => {
    const [rows, columns, depth] = [600, 2100, 3];
    const u = drawUniform(1, (depth + 2) * 2200);
    const part = Float32Array.from({ length: depth * columns }, (_, i) => {
      return u[(2 + Math.floor(i / columns)) * 2200 + 50 + (i % columns)]!;
    });
    const a = drawFloats(2, rows * 8);
    const left = Float32Array.from(
      { length: rows * depth },
      (_, i) => a[1 + Math.floor(i / depth) * 8 + (i % depth)]!,
    );
    const c = drawFloats(3, rows * columns);
    const expected = c.slice();
    plainProduct(expected, { offset: 0, stride: columns }, left, part, rows, columns, depth);
    subtractProduct(
      space,
      { values: c },
      { values: a, offset: 1, stride: 8 },
      { values: u, offset: 2 * 2200 + 50, stride: 2200 },
      rows,
      columns,
      depth,
    );
    expect(sameBits(c, expected)).toBe(true);
  });

  it('refuses what does not fit', () => {
    const c = { values: new Float32Array(6) };
    const a = { values: new Float32Array(2) };
    const b = { values: new Float32Array(3) };
    expect(at(() => subtractProduct(space, c, a, b, 2, 3, 1))).toBe('none');
    expect(at(() => subtractProduct(space, c, a, b, 3, 2, 1))).toBe('LINALG_SHAPE a');
    expect(at(() => subtractProduct(space, c, a, b, 2, 0, 1))).toBe('LINALG_SHAPE columns');
    expect(at(() => subtractProduct(space, { ...c, offset: 1 }, a, b, 2, 3, 1))).toBe('LINALG_SHAPE c');
    expect(at(() => subtractProduct(space, c, a, { ...b, stride: 2 }, 2, 3, 1))).toBe('LINALG_SHAPE b');
  });
});

describe('errorInBlock', () => {
  it('gives the bits of a plain loop for any shape and number of levels', () => {
    const property = fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 16 }),
      fc.nat(),
      (rows, width, count, seed) => {
        const { u } = inverseCholesky(space, makeDefinite(seed, width, 100), width, { damping: 0.01 });
        const weights = drawFloats(seed, rows * width);
        const levels = drawLevels(seed + 1, rows, count);
        const found = errorInBlock(space, { values: weights }, { values: u }, levels, rows, width);
        expect(found).toEqual(plainBlock(weights, Float32Array.from(u), levels, rows, width));
      },
    );
    fc.assert(property, { numRuns: 100 });
  });

  it('takes ties to the lower level, and equal levels', () => {
    const levels = Float32Array.of(-1, 0, 0, 2);
    const weights = { values: Float32Array.of(-0.5, 1, 0, 1.0000001, -0.49999997, 5) };
    const u = new Float32Array(36);
    for (let i = 0; i < 6; i++) u[i * 7] = 1;
    const { codes } = errorInBlock(space, weights, { values: u }, levels, 1, 6);
    expect([...codes]).toEqual([0, 2, 1, 3, 1, 3]);
  });

  it('does not depend on what lies below the diagonal of U, nor on how rows are cut', () => {
    const [rows, width] = [9000, 128];
    const { u } = inverseCholesky(space, makeDefinite(1, width, 50), width, { damping: 0 });
    const weights = drawFloats(2, rows * width);
    const levels = drawLevels(3, rows, 4);
    const whole = errorInBlock(space, { values: weights }, { values: u }, levels, rows, width);
    const dirty = u.map((value, i) => (i % width < Math.floor(i / width) ? 1e30 : value));
    const same = errorInBlock(space, { values: weights }, { values: dirty }, levels, rows, width);
    expect(sameBits(same.codes, whole.codes) && sameBits(same.errors, whole.errors)).toBe(true);
    const last = errorInBlock(
      space,
      { values: weights, offset: (rows - 1) * width },
      { values: u },
      levels.subarray((rows - 1) * 4),
      1,
      width,
    );
    expect(last.codes).toEqual(whole.codes.subarray((rows - 1) * width));
    expect(last.errors).toEqual(whole.errors.subarray((rows - 1) * width));
  });

  it('with subtractProduct quantizes as column by column over the whole matrix', () => {
    const [rows, columns, block] = [8, 96, 32];
    const { u } = inverseCholesky(space, makeDefinite(4, columns, 50), columns, { damping: 0.01 });
    // A grid this coarse, against sums that differ in their last bits, gives equal codes but for chance.
    const weights = drawFloats(5, rows * columns);
    const levels = drawLevels(6, rows, 4);
    const whole = plainBlock(weights, Float32Array.from(u), levels, rows, columns);
    const w = weights.slice();
    for (let start = 0; start < columns; start += block) {
      const part = (row: number) => ({ values: u, offset: row * columns + start, stride: columns });
      const cut = { values: w, offset: start, stride: columns };
      const { codes, errors } = errorInBlock(space, cut, part(start), levels, rows, block);
      for (let row = 0; row < rows; row++)
        expect(codes.subarray(row * block, (row + 1) * block)).toEqual(
          whole.codes.subarray(row * columns + start, row * columns + start + block),
        );
      const behind = columns - start - block;
      if (behind === 0) break;
      const rest = { values: w, offset: start + block, stride: columns };
      const right = { values: u, offset: start * columns + start + block, stride: columns };
      subtractProduct(space, rest, { values: errors }, right, rows, behind, block);
    }
  });

  it('loses less than rounding to nearest where columns are correlated', () => {
    const [rows, columns, count] = [40, 128, 16];
    // Neighbours correlated by 0.9: given those before it, a column keeps 1 - 0.9^2 of its variance.
    const h = Float64Array.from({ length: columns * columns }, (_, i) => {
      return 0.9 ** Math.abs(Math.floor(i / columns) - (i % columns));
    });
    const { u } = inverseCholesky(space, h.slice(), columns, { damping: 0 });
    const weights = drawFloats(9, rows * columns);
    // A uniform grid wide enough that corrections are not cut off.
    const grid = Float32Array.from({ length: count }, (_, i) => (i - 7.5) / 4);
    const levels = Float32Array.from({ length: rows * count }, (_, i) => grid[i % count]!);
    const loss = (codes: Uint8Array) => {
      const error = codes.reduce((all, code, i) => {
        all[i] = weights[i]! - grid[code]!;
        return all;
      }, new Float64Array(codes.length));
      return multiplyTransposed(error, h, rows, columns, columns).reduce(
        (sum, x, i) => sum + x * error[i]!,
        0,
      );
    };
    const nearest = Uint8Array.from(weights, (w) => Math.round(4 * w + 7.5));
    const { codes } = errorInBlock(space, { values: weights }, { values: u }, levels, rows, columns);
    // Errors are as good as uniform, so that the expected ratio is that share, 0.19; 5,120 weights spread it by some 2 %.
    expect(loss(codes)).toBeLessThan(0.22 * loss(nearest));
    expect(loss(codes)).toBeGreaterThan(0.16 * loss(nearest));
  });

  it('refuses what does not fit', () => {
    const weights = { values: new Float32Array(6) };
    const u = { values: new Float32Array(9) };
    const run = (levels: number, rows = 2, width = 3) =>
      at(() => errorInBlock(space, weights, u, new Float32Array(levels), rows, width));
    expect(run(8)).toBe('none');
    expect(run(7)).toBe('LINALG_SHAPE levels a row');
    expect(run(34)).toBe('LINALG_SHAPE levels');
    expect(run(8, 4)).toBe('LINALG_SHAPE weights');
    expect(run(4, 1, 4)).toBe('LINALG_SHAPE u');
  });
});
