// Dense f32 matrix product, out = x W^T, both operands with contiguous columns padded by zeros to multiples of 4.
//
// Prefill keeps a block of 4 rows of x by 3 rows of W in 12 accumulators: 7 loads, 12 products and 12 sums for 48
// multiply-adds. SIMD128 has no fused multiply-add, so 4 multiply-adds take 2 arithmetic instructions. Rows of x are taken
// BAND at a time, so that they stay in the second-level cache while W streams past once a band.
// One row of x against 4 rows of W (decode) runs at memory speed.
import { sumFour, sumLanes } from './reduce';

const BAND: u32 = 32;

@inline function mulAdd(sum: v128, a: v128, b: v128): v128 {
  return f32x4.add(sum, f32x4.mul(a, b));
}

@inline function storeColumn(out: usize, stride: u32, v: v128): void {
  v128.store_lane<f32>(out, v, 0);
  v128.store_lane<f32>(out + stride, v, 1);
  v128.store_lane<f32>(out + 2 * stride, v, 2);
  v128.store_lane<f32>(out + 3 * stride, v, 3);
}

/** 4 rows of x by 3 rows of W. */
function block4x3(x: usize, xStride: u32, w: usize, bytes: u32, out: usize, outStride: u32): void {
  const z = f32x4.splat(0);
  let a0 = z, a1 = z, a2 = z, a3 = z, b0 = z, b1 = z, b2 = z, b3 = z, c0 = z, c1 = z, c2 = z, c3 = z;
  let x0 = x, x1 = x + xStride, x2 = x1 + xStride, x3 = x2 + xStride;
  let w0 = w, w1 = w + bytes, w2 = w1 + bytes;
  for (const end = w1; w0 < end; ) {
    const p = v128.load(w0), q = v128.load(w1), r = v128.load(w2);
    let v = v128.load(x0);
    a0 = mulAdd(a0, v, p); b0 = mulAdd(b0, v, q); c0 = mulAdd(c0, v, r);
    v = v128.load(x1);
    a1 = mulAdd(a1, v, p); b1 = mulAdd(b1, v, q); c1 = mulAdd(c1, v, r);
    v = v128.load(x2);
    a2 = mulAdd(a2, v, p); b2 = mulAdd(b2, v, q); c2 = mulAdd(c2, v, r);
    v = v128.load(x3);
    a3 = mulAdd(a3, v, p); b3 = mulAdd(b3, v, q); c3 = mulAdd(c3, v, r);
    x0 += 16; x1 += 16; x2 += 16; x3 += 16; w0 += 16; w1 += 16; w2 += 16;
  }
  storeColumn(out, outStride, sumFour(a0, a1, a2, a3));
  storeColumn(out + 4, outStride, sumFour(b0, b1, b2, b3));
  storeColumn(out + 8, outStride, sumFour(c0, c1, c2, c3));
}

/** 4 rows of x by one row of W. */
function block4x1(x: usize, xStride: u32, w: usize, bytes: u32, out: usize, outStride: u32): void {
  const z = f32x4.splat(0);
  let a0 = z, a1 = z, a2 = z, a3 = z;
  const x1 = x + xStride, x2 = x1 + xStride, x3 = x2 + xStride;
  for (let k: u32 = 0; k < bytes; k += 16) {
    const p = v128.load(w + k);
    a0 = mulAdd(a0, v128.load(x + k), p);
    a1 = mulAdd(a1, v128.load(x1 + k), p);
    a2 = mulAdd(a2, v128.load(x2 + k), p);
    a3 = mulAdd(a3, v128.load(x3 + k), p);
  }
  storeColumn(out, outStride, sumFour(a0, a1, a2, a3));
}

/** One row of x by all rows of W from `first` to `end`. */
function multiplyRow(x: usize, weights: usize, bytes: u32, out: usize, first: u32, end: u32): void {
  let n = first;
  for (; n + 4 <= end; n += 4) {
    let w0 = weights + <usize>n * bytes, w1 = w0 + bytes, w2 = w1 + bytes, w3 = w2 + bytes, v = x;
    const z = f32x4.splat(0);
    let a0 = z, a1 = z, a2 = z, a3 = z;
    for (const stop = w1; w0 < stop; ) {
      const p = v128.load(v);
      a0 = mulAdd(a0, v128.load(w0), p);
      a1 = mulAdd(a1, v128.load(w1), p);
      a2 = mulAdd(a2, v128.load(w2), p);
      a3 = mulAdd(a3, v128.load(w3), p);
      v += 16; w0 += 16; w1 += 16; w2 += 16; w3 += 16;
    }
    v128.store(out + (n << 2), sumFour(a0, a1, a2, a3));
  }
  for (; n < end; ++n) {
    const w = weights + <usize>n * bytes;
    let a = f32x4.splat(0);
    for (let k: u32 = 0; k < bytes; k += 16) a = mulAdd(a, v128.load(x + k), v128.load(w + k));
    store<f32>(out + (n << 2), sumLanes(a));
  }
}

/** out[row][n] = sum_k x[row][k] w[n][k] for firstOutput <= n < endOutput; a row of W takes `bytes` bytes. */
export function denseMatMul(
  x: usize, xStride: u32, weights: usize, bytes: u32, out: usize, outStride: u32,
  rows: u32, firstOutput: u32, endOutput: u32,
): void {
  for (let band: u32 = 0; band < rows; band += BAND) {
    const end = min<u32>(rows, band + BAND), blocked = band + ((end - band) & ~3);
    if (blocked > band) {
      let n = firstOutput;
      for (; n + 3 <= endOutput; n += 3) {
        const w = weights + <usize>n * bytes;
        for (let row = band; row < blocked; row += 4) {
          block4x3(x + row * xStride, xStride, w, bytes, out + row * outStride + (n << 2), outStride);
        }
      }
      for (; n < endOutput; ++n) {
        const w = weights + <usize>n * bytes;
        for (let row = band; row < blocked; row += 4) {
          block4x1(x + row * xStride, xStride, w, bytes, out + row * outStride + (n << 2), outStride);
        }
      }
    }
    for (let row = blocked; row < end; ++row) {
      multiplyRow(x + row * xStride, weights, bytes, out + row * outStride, firstOutput, endOutput);
    }
  }
}
