// Dense f32 matrix product and embedding, out = x W^T.
//
// Layout: 4 rows of W are interleaved in chunks of 16 bytes (4 columns), [row / 4][chunk][4], rows padded to a multiple of 4,
// columns to whole chunks with zeros. One row of x against W (decode) then reads one stream front to back, which the
// processor's prefetcher follows; four separate rows measured at well under half the speed from main memory.
//
// Prefill keeps a block of 3 rows of x by 4 rows of W in 12 accumulators: 7 loads, 12 products and 12 sums for 48
// multiply-adds, or 12 fused ones with relaxed SIMD. Rows of x are taken
// BAND at a time, so that they stay in the second-level cache while W streams past once a band.
import { sumFour } from './reduce';
import { mulAdd, storePart } from './simd';

const BAND: u32 = 48;

/** 3 rows of x by 4 rows of W; `bytes` of a row of x. */
function multiplyBlock(x: usize, xStride: u32, w: usize, bytes: u32, out: usize, outStride: u32, count: u32): void {
  const z = f32x4.splat(0);
  let a0 = z, a1 = z, a2 = z, a3 = z, b0 = z, b1 = z, b2 = z, b3 = z, c0 = z, c1 = z, c2 = z, c3 = z;
  let x1 = x + xStride, x2 = x1 + xStride;
  for (const end = x + bytes; x < end; ) {
    const p = v128.load(x), q = v128.load(x1), r = v128.load(x2);
    let v = v128.load(w);
    a0 = mulAdd(a0, v, p); b0 = mulAdd(b0, v, q); c0 = mulAdd(c0, v, r);
    v = v128.load(w, 16);
    a1 = mulAdd(a1, v, p); b1 = mulAdd(b1, v, q); c1 = mulAdd(c1, v, r);
    v = v128.load(w, 32);
    a2 = mulAdd(a2, v, p); b2 = mulAdd(b2, v, q); c2 = mulAdd(c2, v, r);
    v = v128.load(w, 48);
    a3 = mulAdd(a3, v, p); b3 = mulAdd(b3, v, q); c3 = mulAdd(c3, v, r);
    x += 16; x1 += 16; x2 += 16; w += 64;
  }
  storePart(out, sumFour(a0, a1, a2, a3), count);
  storePart(out + outStride, sumFour(b0, b1, b2, b3), count);
  storePart(out + 2 * outStride, sumFour(c0, c1, c2, c3), count);
}

/** One row of x by 4 rows of W. */
@inline function multiplyRow(x: usize, w: usize, bytes: u32): v128 {
  const z = f32x4.splat(0);
  let a = z, b = z, c = z, d = z;
  for (const end = x + bytes; x < end; ) {
    const v = v128.load(x);
    a = mulAdd(a, v, v128.load(w));
    b = mulAdd(b, v, v128.load(w, 16));
    c = mulAdd(c, v, v128.load(w, 32));
    d = mulAdd(d, v, v128.load(w, 48));
    x += 16;
    w += 64;
  }
  return sumFour(a, b, c, d);
}

/**
 * out[row][n] = sum_k x[row][k] w[n][k] for firstOutput (a multiple of 4) <= n < endOutput. A row of x, and of W,
 * takes `bytes` bytes with its padding.
 */
export function denseMatMul(
  x: usize, xStride: u32, weights: usize, bytes: u32, out: usize, outStride: u32,
  rows: u32, firstOutput: u32, endOutput: u32,
): void {
  for (let band: u32 = 0; band < rows; band += BAND) {
    const end = min<u32>(rows, band + BAND);
    for (let n = firstOutput; n < endOutput; n += 4) {
      const w = weights + <usize>n * bytes, count = endOutput - n;
      let row = band;
      for (; row + 3 <= end; row += 3) {
        multiplyBlock(x + row * xStride, xStride, w, bytes, out + row * outStride + (n << 2), outStride, count);
      }
      for (; row < end; ++row) {
        storePart(out + row * outStride + (n << 2), multiplyRow(x + row * xStride, w, bytes), count);
      }
    }
  }
}

/** out[row] = weight[tokens[row]]; rows of `bytes` bytes. The host has checked the ids. */
export function embedF32(tokens: usize, weights: usize, out: usize, bytes: u32, rows: u32): void {
  for (let row: u32 = 0; row < rows; ++row) {
    const n = load<u32>(tokens + (row << 2)), to = out + row * bytes;
    const w = weights + <usize>(n >> 2) * (bytes << 2) + ((n & 3) << 4);
    for (let k: u32 = 0; k < bytes; k += 16) v128.store(to + k, v128.load(w + (k << 2)));
  }
}
