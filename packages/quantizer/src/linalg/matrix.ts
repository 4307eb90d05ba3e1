// Matrices that callers hold: a typed array, where the first element lies, and the distance of its rows.
import { DuobitError } from '@duobit/format';

export type Values = Float32Array | Float64Array;

/** A row-major matrix, or a part of one; the call says how many rows and columns it has. */
export interface Matrix<T extends Values = Values> {
  readonly values: T;
  /** Index of the first element. Default 0. */
  readonly offset?: number | undefined;
  /** Elements from one row to the next. Default: the number of columns. */
  readonly stride?: number | undefined;
}

/** Rows of a matrix that one step copies into scratch memory take about this much. */
const BLOCK_BYTES = 4 << 20;

/** How many rows of `bytes` bytes to take at a time. */
export function blockRows(bytes: number): number {
  return Math.max(64, Math.floor(BLOCK_BYTES / bytes));
}

/** @throws DuobitError `LINALG_SHAPE` unless all are positive integers */
export function checkSizes(sizes: Readonly<Record<string, number>>): void {
  for (const [name, size] of Object.entries(sizes))
    if (!Number.isSafeInteger(size) || size < 1) throw shapeError(name, `${name} is ${size}`);
}

/** @throws DuobitError `LINALG_SHAPE` unless the array has `length` elements */
export function checkLength(name: string, values: ArrayLike<unknown>, length: number): void {
  if (values.length !== length) throw shapeError(name, `${name} has ${values.length} values, not ${length}`);
}

/** @throws DuobitError `LINALG_SHAPE` when rows and columns reach out of the array */
export function checkMatrix(name: string, matrix: Matrix, rows: number, columns: number): void {
  const { values, offset = 0, stride = columns } = matrix;
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(stride);
  if (!whole || offset < 0 || stride < columns || offset + (rows - 1) * stride + columns > values.length)
    throw shapeError(
      name,
      `${rows} x ${columns} values from ${offset} with rows ${stride} apart do not fit in ${values.length}`,
    );
}

/** Copies rows from `first` on into `target`, whose rows are `targetStride` elements apart. */
export function readRows(
  { values, offset = 0, stride }: Matrix,
  first: number,
  rows: number,
  columns: number,
  target: Values,
  targetStride: number,
): void {
  for (let row = 0; row < rows; row++) {
    const from = offset + (first + row) * (stride ?? columns);
    target.set(values.subarray(from, from + columns), row * targetStride);
  }
}

/** The way back. */
export function writeRows(
  { values, offset = 0, stride }: Matrix,
  first: number,
  rows: number,
  columns: number,
  source: Values,
  sourceStride: number,
): void {
  for (let row = 0; row < rows; row++) {
    const from = row * sourceStride;
    values.set(source.subarray(from, from + columns), offset + (first + row) * (stride ?? columns));
  }
}

/** Index of the first value that is NaN or infinite, or -1. */
export function findNotFinite(values: Values): number {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return i;
  return -1;
}

function shapeError(where: string, message: string): DuobitError {
  return new DuobitError('LINALG_SHAPE', message, {
    where,
    remedy: 'Correct the call: arrays and sizes have to fit each other',
  });
}
