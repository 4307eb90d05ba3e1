// The two steps of GPTQ for a block of columns: quantize within the block, then correct the columns behind it.
import {
  blockRows,
  checkLength,
  checkMatrix,
  checkSizes,
  type Matrix,
  readRows,
  writeRows,
} from './matrix.ts';
import type { Workspace } from './workspace.ts';

/** Levels of a row that the kernel takes at most. */
export const MAX_LEVELS = 16;

export interface BlockErrors {
  /** Index of the level of each weight, [rows, width]. */
  readonly codes: Uint8Array<ArrayBuffer>;
  /** e_j = (w_j - level) / U_jj, [rows, width]: the left factor of `subtractProduct` for the columns behind. */
  readonly errors: Float32Array<ArrayBuffer>;
}

/**
 * Quantizes a block of columns in order (Frantar et al. 2022, arXiv 2210.17323, algorithm 1, inner loop): the nearest level
 * of w_j, ties to the lower one (of equal levels the last for a w_j above them, else the first), then w_k -= e_j U_jk for the columns k > j of the block. All in f32, multiplication and
 * subtraction rounded apart. Any quantizer with a row's values known before is a table of levels; the points of a uniform
 * grid are one.
 *
 * Scratch memory: 4 width^2 bytes for U, about 4 MiB (at least 64 rows) for weights, as much for errors, and codes.
 *
 * @param weights W [rows, width], the corrections of earlier blocks applied; finite. Not changed.
 * @param u the diagonal block [width, width] of U from `inverseCholesky`; rounded to f32. Below the diagonal it is not used.
 * @param levels [rows, levelCount] f32, each row ascending, at most 16
 * @throws DuobitError `LINALG_SHAPE`; `BACKEND_OUT_OF_MEMORY`
 */
export function errorInBlock(
  space: Workspace,
  weights: Matrix,
  u: Matrix,
  levels: Float32Array,
  rows: number,
  width: number,
): BlockErrors {
  checkSizes({ rows, width, 'levels a row': levels.length / rows });
  checkMatrix('weights', weights, rows, width);
  checkMatrix('u', u, width, width);
  const levelCount = Math.min(MAX_LEVELS, levels.length / rows);
  checkLength('levels', levels, rows * levelCount);

  space.reset();
  // Rows are padded to whole vectors; what lies in the padding does not reach a result.
  const stride = Math.ceil(width / 4) * 4;
  const step = Math.min(rows, blockRows(stride * 4));
  const uPointer = space.allocate(width * stride * 4);
  const weightPointer = space.allocate(step * stride * 4);
  const errorPointer = space.allocate(step * stride * 4);
  const levelPointer = space.allocate(step * levelCount * 4);
  const codePointer = space.allocate(step * width);
  readRows(u, 0, width, width, space.floats(uPointer, width * stride), stride);
  const codes = new Uint8Array(rows * width);
  const errors = new Float32Array(rows * width);
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    readRows(weights, first, count, width, space.floats(weightPointer, count * stride), stride);
    space
      .floats(levelPointer, count * levelCount)
      .set(levels.subarray(first * levelCount, (first + count) * levelCount));
    space.kernels.propagateErrors(
      weightPointer,
      uPointer,
      stride * 4,
      levelPointer,
      levelCount,
      codePointer,
      errorPointer,
      count,
      width,
    );
    codes.set(space.bytes(codePointer, count * width), first * width);
    writeRows({ values: errors }, first, count, width, space.floats(errorPointer, count * stride), stride);
  }
  return { codes, errors };
}

/**
 * C -= A B in f32: with the errors of a block as A and the rows of U behind the block as B, GPTQ's correction of the
 * columns that follow. For each 256 of `depth` one sum from zero, in order, multiplications and additions rounded apart,
 * is subtracted from C: the bits depend neither on the machine nor on how C is cut.
 *
 * Scratch memory: 4 depth columns bytes for B, and about 4 MiB (at least 64 rows) each for A and C.
 *
 * @param c C [rows, columns], changed in place
 * @param a A [rows, depth]
 * @param b B [depth, columns]; both are rounded to f32
 * @throws DuobitError `LINALG_SHAPE`; `BACKEND_OUT_OF_MEMORY`
 */
export function subtractProduct(
  space: Workspace,
  c: Matrix<Float32Array>,
  a: Matrix,
  b: Matrix,
  rows: number,
  columns: number,
  depth: number,
): void {
  checkSizes({ rows, columns, depth });
  checkMatrix('c', c, rows, columns);
  checkMatrix('a', a, rows, depth);
  checkMatrix('b', b, depth, columns);

  space.reset();
  const step = Math.min(rows, blockRows(Math.max(columns, depth) * 4));
  const cPointer = space.allocate(step * columns * 4);
  const aPointer = space.allocate(step * depth * 4);
  const bPointer = space.allocate(depth * columns * 4);
  readRows(b, 0, depth, columns, space.floats(bPointer, depth * columns), columns);
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const block = space.floats(cPointer, count * columns);
    readRows(c, first, count, columns, block, columns);
    readRows(a, first, count, depth, space.floats(aPointer, count * depth), depth);
    space.kernels.subtractProduct32(
      cPointer,
      columns * 4,
      aPointer,
      depth * 4,
      bPointer,
      columns * 4,
      count,
      columns,
      depth,
    );
    writeRows(c, first, count, columns, block, columns);
  }
}
