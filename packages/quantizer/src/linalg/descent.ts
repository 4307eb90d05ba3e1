// Coordinate descent: better codes for given levels.
import { blockRows } from './matrix.ts';
import { checkQuantizedRows, loadHessian, paddedColumns, type QuantizedRows } from './quantized-rows.ts';
import type { Workspace } from './workspace.ts';

/** Gradients of the rows that share one pass over H: half of a second-level cache. */
const PASS_BYTES = 256 << 10;

/**
 * One pass over the columns: each weight in turn takes the level of its group that minimises the row's loss
 * (w - q)^T H (w - q) with all others held, ties to the level it has. The gradient H (q - w) is computed anew, a matrix
 * product of 2 rows columns^2 operations; then each change costs `columns` multiply-adds. Gradients are f32, choices f64.
 * Repeat until nothing changes; a row's result does not depend on the rows beside it.
 *
 * Scratch memory: 4 columns^2 bytes for H and about 8 MiB (at least 64 rows) for gradients and residuals.
 *
 * @param given `codes` are changed in place
 * @returns how many codes changed
 * @throws DuobitError `LINALG_SHAPE`; `BACKEND_OUT_OF_MEMORY`
 */
export function descend(space: Workspace, given: QuantizedRows): number {
  const { hessian, weights, codes, levels, rows, columns, groupSize } = given;
  const groups = checkQuantizedRows(given);
  space.reset();
  const stride = paddedColumns(columns);
  const step = Math.min(rows, blockRows(stride * 4));
  const pass = Math.max(1, Math.floor(PASS_BYTES / (stride * 4)));
  const h = loadHessian(space, hessian, columns);
  const gradient = space.allocate(step * stride * 4);
  const residual = space.allocate(step * columns * 4);
  const codePointer = space.allocate(step * columns);
  const levelPointer = space.allocate(step * groups * 16);
  let changes = 0;
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const block = codes.subarray(first * columns, (first + count) * columns);
    const tables = levels.subarray(first * groups * 4, (first + count) * groups * 4);
    const difference = space.floats(residual, count * columns);
    for (let row = 0, i = 0; row < count; row++)
      for (let j = 0; j < columns; j++, i++) {
        const group = row * groups + Math.floor(j / groupSize);
        difference[i] = weights[first * columns + i]! - tables[group * 4 + block[i]!]!;
      }
    // 0 - (w - q) H is H (q - w), H being symmetric.
    space.floats(gradient, count * stride).fill(0);
    space.kernels.subtractProduct32(
      gradient,
      stride * 4,
      residual,
      columns * 4,
      h,
      stride * 4,
      count,
      columns,
      columns,
    );
    const codeView = space.bytes(codePointer, count * columns);
    codeView.set(block);
    space.floats(levelPointer, count * groups * 4).set(tables);
    for (let row = 0; row < count; row += pass)
      changes += space.kernels.descend(
        h,
        gradient + row * stride * 4,
        stride * 4,
        codePointer + row * columns,
        levelPointer + row * groups * 16,
        Math.min(pass, count - row),
        columns,
        groupSize,
      );
    block.set(codeView);
  }
  return changes;
}
