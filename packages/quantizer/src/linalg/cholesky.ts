// Factors, inverses and solutions of symmetric positive definite systems in double precision.
import { DuobitError } from '@duobit/format';
import {
  blockRows,
  checkLength,
  checkSizes,
  findNotFinite,
  readRows,
  type Values,
  writeRows,
} from './matrix.ts';
import type { Workspace } from './workspace.ts';

/** Where retries begin when no damping was asked for. */
const LEAST_DAMPING = 1e-4;

export interface InverseCholeskyOptions {
  /** What is added to the diagonal, as a part of its mean over the columns that are not dead; 0 to 1. GPTQ takes 0.01. */
  readonly damping: number;
}

export interface InverseCholesky {
  /** Upper triangle U with H^-1 = U^T U, zeros below; [n, n], the array that held H. */
  readonly u: Float64Array;
  /** The damping that was used: as asked, or larger where that did not suffice. */
  readonly damping: number;
  /** Columns j with H_jj = 0, ascending: no input reaches their weights, which should become 0. Row and column j of U are the identity's. */
  readonly dead: Uint32Array;
}

/**
 * What GPTQ needs of the damped Hessian: the upper Cholesky factor U of its inverse (Frantar et al. 2022, arXiv
 * 2210.17323, algorithm 1). The inverse itself is never formed: H = R R^T with R upper triangular, which is the plain
 * Cholesky factor of the matrix read backwards, and U = R^-1. 2/3 n^3 floating point operations.
 *
 * A pivot that is not positive, or a U that is not finite, multiplies the damping by 10 (from 0: makes it 1e-4), at most to
 * 1, and tries again.
 *
 * Scratch memory: 8 n^2 bytes.
 *
 * @param h H [n, n], symmetric, of which the triangle above the diagonal counts. Overwritten by U; as it was after an error.
 * @throws DuobitError `LINALG_NOT_FINITE` for NaN or infinity in H; `LINALG_NOT_DEFINITE` when damping 1 does not suffice;
 * `LINALG_SHAPE`; `QUANTIZE_OPTION` for a damping out of range; `BACKEND_OUT_OF_MEMORY`
 */
export function inverseCholesky(
  space: Workspace,
  h: Float64Array,
  n: number,
  options: InverseCholeskyOptions,
): InverseCholesky {
  checkSquare(h, n);
  let { damping } = options;
  if (!(damping >= 0 && damping <= 1))
    throw new DuobitError('QUANTIZE_OPTION', `damping is ${damping}`, {
      where: 'damping',
      remedy: 'Give a damping from 0 to 1, such as 0.01',
    });
  const dead: number[] = [];
  let trace = 0;
  for (let j = 0; j < n; j++) {
    const diagonal = h[j * (n + 1)]!;
    if (diagonal === 0) dead.push(j);
    trace += diagonal;
  }
  const mean = dead.length === n ? 0 : trace / (n - dead.length);

  space.reset();
  const pointer = space.allocate(h.byteLength);
  const work = space.doubles(pointer, n * n);
  for (;;) {
    work.set(h);
    for (let i = 0; i < work.length; i += n + 1) work[i]! += damping * mean;
    for (const j of dead) isolate(work, n, j);
    work.reverse();
    const pivot = space.kernels.factor(pointer, n * 8, n);
    if (pivot === n) {
      space.kernels.invert(pointer, n * 8, n);
      space.kernels.clearUpper(pointer, n * 8, n);
      if (findNotFinite(work) < 0) break;
    }
    if (damping === 1)
      throw notDefinite(n, pivot === n ? 'its inverse' : `the pivot of column ${n - 1 - pivot}`);
    damping = damping === 0 ? LEAST_DAMPING : Math.min(1, damping * 10);
  }
  h.set(work.reverse());
  return { u: h, damping, dead: Uint32Array.from(dead) };
}

/** Makes row and column j those of the identity. */
function isolate(a: Float64Array, n: number, j: number): void {
  a.fill(0, j * n, (j + 1) * n);
  for (let i = j; i < a.length; i += n) a[i] = 0;
  a[j * (n + 1)] = 1;
}

/**
 * The lower triangle L with A = L L^T, in place of A, zeros above. n^3 / 3 floating point operations; scratch memory 8 n^2
 * bytes.
 *
 * @param a A [n, n], symmetric, of which the triangle below the diagonal counts. As it was after an error.
 * @throws DuobitError `LINALG_NOT_FINITE`; `LINALG_NOT_DEFINITE`; `LINALG_SHAPE`; `BACKEND_OUT_OF_MEMORY`
 */
export function cholesky(space: Workspace, a: Float64Array, n: number): Float64Array {
  const pointer = loadFactor(space, a, n);
  space.kernels.clearUpper(pointer, n * 8, n);
  a.set(space.doubles(pointer, n * n));
  return a;
}

/**
 * X = B H^-1, in place of B, by Cholesky factorization: n^3 / 3 + 2 m n^2 floating point operations. Nothing is damped.
 *
 * Scratch memory: 8 n^2 bytes for H and about 4 MiB (at least 64 rows) for B.
 *
 * @param h H [n, n], symmetric, of which the triangle below the diagonal counts
 * @param b B [m, n], rows are right-hand sides; the sums are in f64 whatever its type
 * @throws DuobitError `LINALG_NOT_FINITE` for H; `LINALG_NOT_DEFINITE`; `LINALG_SHAPE`; `BACKEND_OUT_OF_MEMORY`
 */
export function solveSymmetric(space: Workspace, h: Float64Array, n: number, b: Values, m: number): void {
  checkSizes({ m });
  checkLength('b', b, m * n);
  const factor = loadFactor(space, h, n);
  const step = Math.min(m, blockRows(n * 8));
  const block = space.allocate(step * n * 8);
  for (let first = 0; first < m; first += step) {
    const rows = Math.min(step, m - first);
    const view = space.doubles(block, rows * n);
    readRows({ values: b }, first, rows, n, view, n);
    space.kernels.solveTransposed(block, n * 8, factor, n * 8, rows, n);
    space.kernels.solveRight(block, n * 8, factor, n * 8, rows, n);
    writeRows({ values: b }, first, rows, n, view, n);
  }
}

/** Copies A into an emptied scratch memory and factors it there; returns where. */
function loadFactor(space: Workspace, a: Float64Array, n: number): number {
  checkSquare(a, n);
  space.reset();
  const pointer = space.allocate(a.byteLength);
  space.doubles(pointer, n * n).set(a);
  const pivot = space.kernels.factor(pointer, n * 8, n);
  if (pivot < n) throw notDefinite(n, `the pivot of column ${pivot}`);
  return pointer;
}

function checkSquare(a: Float64Array, n: number): void {
  checkSizes({ n });
  checkLength('the matrix', a, n * n);
  const fault = findNotFinite(a);
  if (fault < 0) return;
  const column = fault % n;
  throw new DuobitError(
    'LINALG_NOT_FINITE',
    `row ${(fault - column) / n}, column ${column} of a matrix of ${n} columns is ${a[fault]}`,
    { where: `column ${column}`, remedy: 'Check checkpoint and calibration text' },
  );
}

function notDefinite(n: number, what: string): DuobitError {
  return new DuobitError(
    'LINALG_NOT_DEFINITE',
    `${what} is not positive and finite: the matrix of ${n} columns is not positive definite`,
    { where: `matrix of ${n} columns`, remedy: 'Calibrate with more text, or with more damping' },
  );
}
