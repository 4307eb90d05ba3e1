// Rows of weights with their codes and levels, as coordinate descent and the refit of levels share them.
import { DuobitError } from '@duobit/format';
import { checkLength, checkSizes } from './matrix.ts';
import type { Workspace } from './workspace.ts';

/** Weights W [rows, columns] and their quantization: Q[r][j] = levels[r][j / groupSize][codes[r][j]]. */
export interface QuantizedRows {
  /** Hessian of the loss (w - q)^T H (w - q), [columns, columns] f32, symmetric and finite. */
  readonly hessian: Float32Array;
  /** [rows, columns], finite */
  readonly weights: Float32Array;
  /** [rows, columns], 0 to 3 */
  readonly codes: Uint8Array;
  /** [rows, groups, 4], in any order, finite; the last group may be short. */
  readonly levels: Float32Array;
  readonly rows: number;
  readonly columns: number;
  /** Columns that share levels. */
  readonly groupSize: number;
}

/** Returns the number of groups. @throws DuobitError `LINALG_SHAPE` */
export function checkQuantizedRows(given: QuantizedRows): number {
  const { hessian, weights, codes, levels, rows, columns, groupSize } = given;
  checkSizes({ rows, columns, groupSize });
  const groups = Math.ceil(columns / groupSize);
  checkLength('hessian', hessian, columns * columns);
  checkLength('weights', weights, rows * columns);
  checkLength('codes', codes, rows * columns);
  checkLength('levels', levels, rows * groups * 4);
  const code = codes.findIndex((value) => value > 3);
  if (code >= 0)
    throw new DuobitError('LINALG_SHAPE', `code ${codes[code]} is not one of 0 to 3`, {
      where: 'codes',
      remedy: 'Correct the call',
    });
  return groups;
}

/** Elements from one row of H in scratch memory to the next: whole vectors. */
export function paddedColumns(columns: number): number {
  return Math.ceil(columns / 4) * 4;
}

/** Copies H into scratch memory; returns where. */
export function loadHessian(space: Workspace, hessian: Float32Array, columns: number): number {
  const stride = paddedColumns(columns);
  const pointer = space.allocate(columns * stride * 4);
  const target = space.floats(pointer, columns * stride);
  for (let j = 0; j < columns; j++) target.set(hessian.subarray(j * columns, (j + 1) * columns), j * stride);
  return pointer;
}
