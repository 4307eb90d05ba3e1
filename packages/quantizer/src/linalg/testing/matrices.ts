// Seeded matrices and plain double-precision products that tests of the linear algebra compare with.
import { createRandom } from '@duobit/core';

/** Unit roundoff of f64. */
export const UNIT64 = 2 ** -53;

/** gamma_n = n u / (1 - n u) in f64 (Higham 2002, lemma 3.1). */
export function gamma64(n: number): number {
  return (n * UNIT64) / (1 - n * UNIT64);
}

/** Uniform in [-1, 1): no function of the engine is in it, so that bits made from it can be compared. */
export function drawUniform(seed: number, count: number): Float64Array<ArrayBuffer> {
  const random = createRandom(seed);
  return Float64Array.from({ length: count }, () => 2 * random() - 1);
}

/** The same as f32. */
export function drawFloats(seed: number, count: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(drawUniform(seed, count));
}

/** Symmetric, with eigenvalues from 1 down to 1 / condition in equal ratios, turned by three Householder reflections. */
export function makeDefinite(seed: number, n: number, condition: number): Float64Array<ArrayBuffer> {
  const h = new Float64Array(n * n);
  for (let i = 0; i < n; i++) h[i * (n + 1)] = condition ** (n === 1 ? 0 : -i / (n - 1));
  for (let turn = 0; turn < 3; turn++) {
    const v = drawUniform(seed + turn, n);
    const scale = 2 / v.reduce((sum, x) => sum + x * x, 0);
    reflectColumns(h, n, v, scale);
    transpose(h, n);
    reflectColumns(h, n, v, scale);
  }
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) h[i * n + j] = h[j * n + i]!;
  return h;
}

/** H (I - scale v v^T) */
function reflectColumns(h: Float64Array, n: number, v: Float64Array, scale: number): void {
  for (let i = 0; i < n; i++) {
    let sum = 0;
    for (let j = 0; j < n; j++) sum += h[i * n + j]! * v[j]!;
    for (let j = 0; j < n; j++) h[i * n + j]! -= scale * sum * v[j]!;
  }
}

function transpose(h: Float64Array, n: number): void {
  for (let i = 0; i < n; i++)
    for (let j = 0; j < i; j++) {
      const value = h[i * n + j]!;
      h[i * n + j] = h[j * n + i]!;
      h[j * n + i] = value;
    }
}

/** A [rows, depth] B^T with B [columns, depth]. */
export function multiplyTransposed(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  rows: number,
  columns: number,
  depth: number,
): Float64Array<ArrayBuffer> {
  const c = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let k = 0; k < depth; k++) sum += a[i * depth + k]! * b[j * depth + k]!;
      c[i * columns + j] = sum;
    }
  return c;
}

/** Symmetric and positive semidefinite f32, as X^T X of few inputs is: rank `rank`. */
export function makeHessian(seed: number, n: number, rank: number): Float32Array<ArrayBuffer> {
  const x = drawUniform(seed, n * rank);
  return Float32Array.from(multiplyTransposed(x, x, n, n, rank));
}

/** Whether two arrays hold the same bits; comparing millions of values one by one takes a test runner long. */
export function sameBits(a: ArrayBufferView, b: ArrayBufferView): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(
    Buffer.from(b.buffer, b.byteOffset, b.byteLength),
  );
}
