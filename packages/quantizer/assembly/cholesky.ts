// Cholesky factor, triangular solves and triangular inverse in f64, recursive down to small leaves, so that nearly all of
// the work is the blocked product. Lower triangles, row-major, in place; strides in bytes; what lies above the diagonal of
// a triangle is not read.
import { subtractProduct } from './gemm';

const SIZE: u32 = 8;
/** Leaves of the recursion have at most this many columns. */
const LEAF: u32 = 32;
/** A diagonal block of a symmetric update is computed whole up to this size. */
const SQUARE: u32 = 64;

/** Where to cut n > LEAF: near the middle, at a multiple of LEAF. */
@inline function cut(n: u32): u32 {
  return (n + 2 * LEAF - 1) / (2 * LEAF) * LEAF;
}

@inline function at(base: usize, stride: u32, row: u32, column: u32): usize {
  return base + row * stride + column * SIZE;
}

function dot(x: usize, y: usize, count: u32): f64 {
  let sum2 = f64x2.splat(0);
  const pairs = count & ~1;
  for (let k: u32 = 0; k < pairs; k += 2) {
    sum2 = f64x2.add(sum2, f64x2.mul(v128.load(x + k * SIZE), v128.load(y + k * SIZE)));
  }
  const sum = f64x2.extract_lane(sum2, 0) + f64x2.extract_lane(sum2, 1);
  return pairs < count ? sum + load<f64>(x + pairs * SIZE) * load<f64>(y + pairs * SIZE) : sum;
}

/** y -= factor * x */
function subtractScaled(y: usize, x: usize, factor: f64, count: u32): void {
  const factor2 = f64x2.splat(factor), pairs = count & ~1;
  for (let k: u32 = 0; k < pairs; k += 2) {
    v128.store(y + k * SIZE, f64x2.sub(v128.load(y + k * SIZE), f64x2.mul(factor2, v128.load(x + k * SIZE))));
  }
  if (pairs < count) {
    store<f64>(y + pairs * SIZE, load<f64>(y + pairs * SIZE) - factor * load<f64>(x + pairs * SIZE));
  }
}

/** C [n, n] -= A A^T with A [n, depth]; above the diagonal C gets anything. */
function subtractSquare(c: usize, a: usize, stride: u32, n: u32, depth: u32): void {
  if (n <= SQUARE) {
    subtractProduct<f64>(c, stride, a, stride, SIZE, a, SIZE, stride, n, n, depth);
    return;
  }
  const m = cut(n), below = a + m * stride;
  subtractSquare(c, a, stride, m, depth);
  subtractProduct<f64>(c + m * stride, stride, below, stride, SIZE, a, SIZE, stride, n - m, m, depth);
  subtractSquare(at(c, stride, m, m), below, stride, n - m, depth);
}

/** A = L L^T in place. Returns n, or the index of the first pivot that is not positive and finite. */
export function factor(a: usize, stride: u32, n: u32): u32 {
  if (n <= LEAF) {
    for (let j: u32 = 0; j < n; ++j) {
      const row = a + j * stride, pivot = load<f64>(row + j * SIZE) - dot(row, row, j);
      if (!(pivot > 0 && pivot < Infinity)) return j;
      const root = sqrt<f64>(pivot);
      store<f64>(row + j * SIZE, root);
      for (let i = j + 1; i < n; ++i) {
        const below = a + i * stride;
        store<f64>(below + j * SIZE, (load<f64>(below + j * SIZE) - dot(below, row, j)) / root);
      }
    }
    return n;
  }
  const m = cut(n), below = a + m * stride, rest = at(a, stride, m, m);
  const first = factor(a, stride, m);
  if (first < m) return first;
  solveTransposed(below, stride, a, stride, n - m, m);
  subtractSquare(rest, below, stride, n - m, m);
  return m + factor(rest, stride, n - m);
}

/** X L^T = B for X in place of B [rows, n]. */
export function solveTransposed(b: usize, bStride: u32, l: usize, lStride: u32, rows: u32, n: u32): void {
  if (n <= LEAF) {
    for (let i: u32 = 0; i < rows; ++i) {
      const x = b + i * bStride;
      for (let j: u32 = 0; j < n; ++j) {
        const row = l + j * lStride;
        store<f64>(x + j * SIZE, (load<f64>(x + j * SIZE) - dot(x, row, j)) / load<f64>(row + j * SIZE));
      }
    }
    return;
  }
  const m = cut(n), rest = b + m * SIZE, below = l + m * lStride;
  solveTransposed(b, bStride, l, lStride, rows, m);
  subtractProduct<f64>(rest, bStride, b, bStride, SIZE, below, SIZE, lStride, rows, n - m, m);
  solveTransposed(rest, bStride, at(l, lStride, m, m), lStride, rows, n - m);
}

/** X L = B for X in place of B [rows, n]. */
export function solveRight(b: usize, bStride: u32, l: usize, lStride: u32, rows: u32, n: u32): void {
  if (n <= LEAF) {
    for (let i: u32 = 0; i < rows; ++i) {
      const x = b + i * bStride;
      for (let j = n; j-- > 0;) {
        const row = l + j * lStride, value = load<f64>(x + j * SIZE) / load<f64>(row + j * SIZE);
        store<f64>(x + j * SIZE, value);
        subtractScaled(x, row, value, j);
      }
    }
    return;
  }
  const m = cut(n), rest = b + m * SIZE, below = l + m * lStride;
  solveRight(rest, bStride, at(l, lStride, m, m), lStride, rows, n - m);
  subtractProduct<f64>(b, bStride, rest, bStride, SIZE, below, lStride, SIZE, rows, m, n - m);
  solveRight(b, bStride, l, lStride, rows, m);
}

/** L X = B for X in place of B [n, columns]. */
function solveLeft(b: usize, bStride: u32, l: usize, lStride: u32, n: u32, columns: u32): void {
  if (n <= LEAF) {
    for (let i: u32 = 0; i < n; ++i) {
      const x = b + i * bStride, row = l + i * lStride, pivot = load<f64>(row + i * SIZE);
      for (let k: u32 = 0; k < i; ++k) subtractScaled(x, b + k * bStride, load<f64>(row + k * SIZE), columns);
      for (let j: u32 = 0; j < columns; ++j) store<f64>(x + j * SIZE, load<f64>(x + j * SIZE) / pivot);
    }
    return;
  }
  const m = cut(n), rest = b + m * bStride, below = l + m * lStride;
  solveLeft(b, bStride, l, lStride, m, columns);
  subtractProduct<f64>(rest, bStride, below, lStride, SIZE, b, bStride, SIZE, n - m, columns, m);
  solveLeft(rest, bStride, at(l, lStride, m, m), lStride, n - m, columns);
}

/** L becomes its inverse. */
export function invert(l: usize, stride: u32, n: u32): void {
  if (n <= LEAF) {
    for (let i: u32 = 0; i < n; ++i) {
      const row = l + i * stride, scale = 1 / load<f64>(row + i * SIZE);
      // Ascending, so that what is overwritten is not needed again.
      for (let j: u32 = 0; j < i; ++j) {
        let sum: f64 = 0;
        for (let k = j; k < i; ++k) sum += load<f64>(row + k * SIZE) * load<f64>(at(l, stride, k, j));
        store<f64>(row + j * SIZE, 0 - sum * scale);
      }
      store<f64>(row + i * SIZE, scale);
    }
    return;
  }
  const m = cut(n), below = l + m * stride, rest = at(l, stride, m, m);
  solveLeft(below, stride, rest, stride, n - m, m);
  solveRight(below, stride, l, stride, n - m, m);
  for (let i: u32 = 0; i < n - m; ++i) {
    const row = below + i * stride;
    // 0 - x, so that a zero stays positive.
    for (let j: u32 = 0; j < m; ++j) store<f64>(row + j * SIZE, 0 - load<f64>(row + j * SIZE));
  }
  invert(l, stride, m);
  invert(rest, stride, n - m);
}

/** Zeros above the diagonal. */
export function clearUpper(a: usize, stride: u32, n: u32): void {
  for (let i: u32 = 0; i < n; ++i) memory.fill(at(a, stride, i, i + 1), 0, (n - 1 - i) * SIZE);
}
