// Least squares: better levels for given codes.
import { DuobitError } from '@duobit/format';
import { checkQuantizedRows, loadHessian, paddedColumns, type QuantizedRows } from './quantized-rows.ts';
import type { Workspace } from './workspace.ts';

/** Default of `ridge`: keeps the system solvable and moves no level that the data determine to five digits. */
const RIDGE = 1e-6;

export interface LevelSums {
  /** A = B^T H B [4 groups, 4 groups] */
  readonly a: Float64Array<ArrayBuffer>;
  /** r = B^T H w [4 groups] */
  readonly r: Float64Array<ArrayBuffer>;
}

/** Where one call keeps its things in scratch memory. */
interface Layout {
  readonly h: number;
  readonly w: number;
  readonly codes: number;
  readonly a: number;
  readonly r: number;
  readonly factor: number;
  readonly side: number;
}

/**
 * The normal equations A l = r of the levels of one row, with B [columns, 4 groups] the one-hot matrix of (group, code) of
 * its columns; sums in f64, about 2 columns^2 operations.
 *
 * Scratch memory: 4 columns^2 bytes for H, and twice 8 (4 groups)^2.
 *
 * @param row which row of `given`
 * @throws DuobitError `LINALG_SHAPE`; `BACKEND_OUT_OF_MEMORY`
 */
export function levelSums(space: Workspace, given: QuantizedRows, row: number): LevelSums {
  const layout = load(space, given);
  if (!(Number.isSafeInteger(row) && row >= 0 && row < given.rows))
    throw new DuobitError('LINALG_SHAPE', `row ${row} is not one of ${given.rows}`, {
      where: 'row',
      remedy: 'Give the index of a row',
    });
  sumRow(space, given, layout, row);
  const { a, r, side } = layout;
  return { a: space.doubles(a, side * side).slice(), r: space.doubles(r, side).slice() };
}

/**
 * The levels of each row that minimise (w - q)^T H (w - q) with its codes held, in place: with l the levels so far,
 * (A + ridge mean(diag A) I) x = r - A l, then l += x. So a level that no weight uses keeps its value, and the loss does
 * not rise but for the rounding to f32. Levels can change their order: sort them, and codes with them, where that matters.
 *
 * A row whose system is not positive definite is tried with 10 times the ridge, up to 1. Scratch memory as `levelSums`.
 *
 * @param given `levels` are changed in place
 * @param options.symmetric the levels of a group are -b, -a, a, b in this order, and stay so: a and b are fitted. They can
 * become negative, which sorting the levels mends.
 * @param options.ridge as above; more than 0, at most 1; default 1e-6
 * @throws DuobitError `LINALG_NOT_DEFINITE` when ridge 1 does not suffice; `LINALG_SHAPE`; `QUANTIZE_OPTION` for a ridge
 * out of range; `BACKEND_OUT_OF_MEMORY`
 */
export function refitLevels(
  space: Workspace,
  given: QuantizedRows,
  { symmetric = false, ridge = RIDGE }: { readonly symmetric?: boolean; readonly ridge?: number } = {},
): void {
  if (!(ridge > 0 && ridge <= 1))
    throw new DuobitError('QUANTIZE_OPTION', `ridge is ${ridge}`, {
      where: 'ridge',
      remedy: 'Give a ridge above 0 and at most 1',
    });
  const layout = load(space, given);
  const { side } = layout;
  for (let row = 0; row < given.rows; row++) {
    sumRow(space, given, layout, row);
    const levels = given.levels.subarray(row * side, (row + 1) * side);
    const a = space.doubles(layout.a, side * side);
    let trace = 0;
    for (let i = 0; i < a.length; i += side + 1) trace += a[i]!;
    if (trace === 0) continue;
    const rest = space.doubles(layout.r, side);
    for (let i = 0; i < side; i++) {
      let sum = 0;
      for (let j = 0; j < side; j++) sum += a[i * side + j]! * levels[j]!;
      rest[i]! -= sum;
    }
    if (symmetric) {
      foldHalves(a, rest, side);
      solveRow(space, { ...layout, side: side / 2 }, ridge, trace / side, row);
      for (let i = 0; i < side; i++) levels[i]! += SIGN[i & 3]! * rest[(i >> 2) * 2 + HALF[i & 3]!]!;
      continue;
    }
    solveRow(space, layout, ridge, trace / side, row);
    for (let i = 0; i < side; i++) levels[i]! += rest[i]!;
  }
}

/** Of the levels -b, -a, a, b: which of a and b, and its sign. */
const HALF = [1, 0, 0, 1];
const SIGN = [-1, -1, 1, 1];

/** Turns the system of four levels a group into that of a and b, in the first quarter of A and half of r. */
function foldHalves(a: Float64Array, r: Float64Array, side: number): void {
  const half = side / 2;
  const folded = new Float64Array(half * half);
  const right = new Float64Array(half);
  for (let i = 0; i < side; i++) {
    const row = (i >> 2) * 2 + HALF[i & 3]!;
    right[row]! += SIGN[i & 3]! * r[i]!;
    for (let j = 0; j < side; j++)
      folded[row * half + (j >> 2) * 2 + HALF[j & 3]!]! += SIGN[i & 3]! * SIGN[j & 3]! * a[i * side + j]!;
  }
  a.set(folded);
  r.set(right);
}

/** x in place of the right-hand side r. */
function solveRow(space: Workspace, layout: Layout, ridge: number, mean: number, row: number): void {
  const { a, r, factor, side } = layout;
  const work = space.doubles(factor, side * side);
  for (let part = ridge; ; part = Math.min(1, part * 10)) {
    work.set(space.doubles(a, side * side));
    for (let i = 0; i < work.length; i += side + 1) work[i]! += part * mean;
    if (space.kernels.factor(factor, side * 8, side) === side) break;
    if (part === 1)
      throw new DuobitError(
        'LINALG_NOT_DEFINITE',
        `the levels of row ${row} have no least squares solution`,
        {
          where: `row ${row}`,
          remedy: 'Calibrate with more text, or with more damping',
        },
      );
  }
  space.kernels.solveTransposed(r, side * 8, factor, side * 8, 1, side);
  space.kernels.solveRight(r, side * 8, factor, side * 8, 1, side);
}

function load(space: Workspace, given: QuantizedRows): Layout {
  const side = 4 * checkQuantizedRows(given);
  space.reset();
  return {
    h: loadHessian(space, given.hessian, given.columns),
    w: space.allocate(given.columns * 4),
    codes: space.allocate(given.columns),
    a: space.allocate(side * side * 8),
    r: space.allocate(side * 8),
    factor: space.allocate(side * side * 8),
    side,
  };
}

/** Fills A and r for one row. */
function sumRow(space: Workspace, given: QuantizedRows, layout: Layout, row: number): void {
  const { weights, codes, columns, groupSize } = given;
  const { side } = layout;
  space.floats(layout.w, columns).set(weights.subarray(row * columns, (row + 1) * columns));
  space.bytes(layout.codes, columns).set(codes.subarray(row * columns, (row + 1) * columns));
  space.doubles(layout.a, side * side).fill(0);
  space.doubles(layout.r, side).fill(0);
  const stride = paddedColumns(columns) * 4;
  space.kernels.sumLevels(layout.h, stride, layout.w, layout.codes, layout.a, layout.r, columns, groupSize);
}
