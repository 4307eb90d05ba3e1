// Matrix product and embedding for grouped int8 and int4 weights, w = scale[n, g] * code.
//
// A row of activations is rounded to 16-bit integers a group, with scale max|x| / 32767, and multiplied by i32x4.dot_i16x8:
// the integer sums are exact (127 * 32767 * 256 < 2^31) and the whole is about three times as fast as converting the
// weights to f32. The rounding adds at most 2^-16 * max|x| * sum|w| a group to the error.
//
// Layouts. 4 rows are interleaved in chunks of 16 bytes, [row / 4][chunk][4], so that a product reads one stream. int8: a
// chunk holds 16 columns. int4: it holds 32 columns as code + 8; nibble i of 16-bit lane j is column 8 i + j, so that masks
// and shifts give 16-bit lanes without widening; the 8 is taken back with the sum of the activations. Rows are padded to a
// multiple of 4, columns to whole chunks. Scales: f32 [row / 4][group][4].
import { sumFourIntegers } from './reduce';

/** Below this a group counts as zero: its scale would leave the normal f32 range. */
const TINY: f32 = 7.7e-34;

/**
 * Rounds rows to 16 bits. For each row `out` gets, one after another: codes i16 [columns padded to 32, zeros], then f32
 * scales [groups], then i32 8 * sum of codes [groups]; `outStride` bytes in all. x is padded by zeros to 16 bytes.
 */
export function roundRows(
  x: usize, xStride: u32, out: usize, outStride: u32, rows: u32, width: u32, groupSize: u32,
): void {
  const groups = (width + groupSize - 1) / groupSize, padded = (width + 31) & ~31;
  for (let row: u32 = 0; row < rows; ++row) {
    const from = x + row * xStride, codes = out + row * outStride;
    const scales = codes + (padded << 1), sums = scales + (groups << 2);
    memory.fill(codes + ((width & ~3) << 1), 0, (padded - (width & ~3)) << 1);
    for (let g: u32 = 0; g < groups; ++g) {
      const begin = g * groupSize, end = min<u32>(width, begin + groupSize);
      let top4 = f32x4.splat(0), fault4 = f32x4.splat(0);
      for (let k = begin; k < end; k += 4) {
        const v = v128.load(from + (k << 2));
        top4 = f32x4.pmax(top4, f32x4.abs(v));
        fault4 = f32x4.add(fault4, f32x4.sub(v, v));
      }
      const top = max<f32>(
        max<f32>(f32x4.extract_lane(top4, 0), f32x4.extract_lane(top4, 1)),
        max<f32>(f32x4.extract_lane(top4, 2), f32x4.extract_lane(top4, 3)),
      );
      const fault = f32x4.extract_lane(fault4, 0) + f32x4.extract_lane(fault4, 1)
        + f32x4.extract_lane(fault4, 2) + f32x4.extract_lane(fault4, 3);
      const usable = top >= TINY && fault == 0;
      // A value that is not finite makes the scale NaN, and with it every output.
      const scale: f32 = fault != 0 ? NaN : usable ? top / 32767 : 0;
      store<f32>(scales + (g << 2), scale);
      const divisor = f32x4.splat(usable ? scale : <f32>Infinity);
      let sum4 = i32x4.splat(0);
      for (let k = begin; k < end; k += 4) {
        const c = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.div(v128.load(from + (k << 2)), divisor)));
        sum4 = i32x4.add(sum4, c);
        v128.store64_lane(codes + (k << 1), i16x8.narrow_i32x4_s(c, c), 0);
      }
      const sum = i32x4.extract_lane(sum4, 0) + i32x4.extract_lane(sum4, 1)
        + i32x4.extract_lane(sum4, 2) + i32x4.extract_lane(sum4, 3);
      store<i32>(sums + (g << 2), sum << 3);
    }
  }
}

@inline function dot(sum: v128, a: v128, b: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(a, b));
}

/** y += (scale of the activations * scales of 4 rows) * sums of 4 rows. */
@inline function scaleGroup(y: v128, sums: v128, scales: v128, scale: usize): v128 {
  return f32x4.add(y, f32x4.mul(f32x4.mul(v128.load_splat<f32>(scale), scales), f32x4.convert_i32x4_s(sums)));
}

function storeOutputs(out: usize, y: v128, count: u32): void {
  if (count >= 4) {
    v128.store(out, y);
    return;
  }
  store<f32>(out, f32x4.extract_lane(y, 0));
  if (count > 1) store<f32>(out, f32x4.extract_lane(y, 1), 4);
  if (count > 2) store<f32>(out, f32x4.extract_lane(y, 2), 8);
}

/** 4 rows of int8 weights by one row of activations. */
function int8Row(w: usize, scales: usize, x: usize, xs: usize, groups: u32, groupSize: u32, width: u32): v128 {
  let y = f32x4.splat(0);
  for (let g: u32 = 0; g < groups; ++g) {
    const z = i32x4.splat(0);
    let a = z, b = z, c = z, d = z;
    for (let u = (min<u32>(groupSize, width - g * groupSize) + 15) >> 4; u > 0; --u) {
      let v = v128.load(x);
      a = dot(a, v, v128.load_ext<i8>(w));
      b = dot(b, v, v128.load_ext<i8>(w, 16));
      c = dot(c, v, v128.load_ext<i8>(w, 32));
      d = dot(d, v, v128.load_ext<i8>(w, 48));
      v = v128.load(x, 16);
      a = dot(a, v, v128.load_ext<i8>(w, 8));
      b = dot(b, v, v128.load_ext<i8>(w, 24));
      c = dot(c, v, v128.load_ext<i8>(w, 40));
      d = dot(d, v, v128.load_ext<i8>(w, 56));
      w += 64;
      x += 32;
    }
    y = scaleGroup(y, sumFourIntegers(a, b, c, d), v128.load(scales + (g << 4)), xs + (g << 2));
  }
  return y;
}

/** 4 rows of int8 weights by two rows of activations: the weights are widened once for both. */
function int8Pair(
  w: usize, scales: usize, x: usize, xs: usize, pairStride: u32, groups: u32, groupSize: u32, width: u32,
  out: usize, outStride: u32, count: u32,
): void {
  let y = f32x4.splat(0), y1 = f32x4.splat(0);
  for (let g: u32 = 0; g < groups; ++g) {
    const z = i32x4.splat(0);
    let a = z, b = z, c = z, d = z, a1 = z, b1 = z, c1 = z, d1 = z;
    for (let u = (min<u32>(groupSize, width - g * groupSize) + 15) >> 4; u > 0; --u) {
      let v = v128.load(x), v1 = v128.load(x + pairStride);
      let e = v128.load_ext<i8>(w);
      a = dot(a, v, e); a1 = dot(a1, v1, e);
      e = v128.load_ext<i8>(w, 16);
      b = dot(b, v, e); b1 = dot(b1, v1, e);
      e = v128.load_ext<i8>(w, 32);
      c = dot(c, v, e); c1 = dot(c1, v1, e);
      e = v128.load_ext<i8>(w, 48);
      d = dot(d, v, e); d1 = dot(d1, v1, e);
      v = v128.load(x, 16); v1 = v128.load(x + pairStride, 16);
      e = v128.load_ext<i8>(w, 8);
      a = dot(a, v, e); a1 = dot(a1, v1, e);
      e = v128.load_ext<i8>(w, 24);
      b = dot(b, v, e); b1 = dot(b1, v1, e);
      e = v128.load_ext<i8>(w, 40);
      c = dot(c, v, e); c1 = dot(c1, v1, e);
      e = v128.load_ext<i8>(w, 56);
      d = dot(d, v, e); d1 = dot(d1, v1, e);
      w += 64;
      x += 32;
    }
    const s = v128.load(scales + (g << 4));
    y = scaleGroup(y, sumFourIntegers(a, b, c, d), s, xs + (g << 2));
    y1 = scaleGroup(y1, sumFourIntegers(a1, b1, c1, d1), s, xs + pairStride + (g << 2));
  }
  storeOutputs(out, y, count);
  storeOutputs(out + outStride, y1, count);
}

/** out = x W^T for int8 weights and x from roundRows; outputs firstOutput (a multiple of 4) to endOutput. */
export function int8MatMul(
  x: usize, xStride: u32, weights: usize, scales: usize, out: usize, outStride: u32,
  rows: u32, width: u32, groupSize: u32, firstOutput: u32, endOutput: u32,
): void {
  const groups = (width + groupSize - 1) / groupSize, stride = (width + 15) & ~15, xs = ((width + 31) & ~31) << 1;
  for (let n = firstOutput; n < endOutput; n += 4) {
    const w = weights + <usize>n * stride, s = scales + <usize>n * (groups << 2), count = endOutput - n;
    let row: u32 = 0;
    for (; row + 2 <= rows; row += 2) {
      const v = x + row * xStride, to = out + row * outStride + (n << 2);
      int8Pair(w, s, v, v + xs, xStride, groups, groupSize, width, to, outStride, count);
    }
    if (row < rows) {
      const v = x + row * xStride;
      storeOutputs(out + row * outStride + (n << 2), int8Row(w, s, v, v + xs, groups, groupSize, width), count);
    }
  }
}

/** Adds 32 columns of one row of int4 weights. */
@inline function dotNibbles(sum: v128, w: usize, v0: v128, v1: v128, v2: v128, v3: v128): v128 {
  const b = v128.load(w), mask = i16x8.splat(15);
  sum = dot(sum, v0, v128.and(b, mask));
  sum = dot(sum, v1, v128.and(i16x8.shr_u(b, 4), mask));
  sum = dot(sum, v2, v128.and(i16x8.shr_u(b, 8), mask));
  return dot(sum, v3, i16x8.shr_u(b, 12));
}

/** 4 rows of int4 weights by one row of activations. */
function int4Row(w: usize, scales: usize, x: usize, xs: usize, groups: u32, groupSize: u32, width: u32): v128 {
  let y = f32x4.splat(0);
  const sums = xs + (groups << 2);
  for (let g: u32 = 0; g < groups; ++g) {
    const z = i32x4.splat(0);
    let a = z, b = z, c = z, d = z;
    for (let u = (min<u32>(groupSize, width - g * groupSize) + 31) >> 5; u > 0; --u) {
      const v0 = v128.load(x), v1 = v128.load(x, 16), v2 = v128.load(x, 32), v3 = v128.load(x, 48);
      a = dotNibbles(a, w, v0, v1, v2, v3);
      b = dotNibbles(b, w + 16, v0, v1, v2, v3);
      c = dotNibbles(c, w + 32, v0, v1, v2, v3);
      d = dotNibbles(d, w + 48, v0, v1, v2, v3);
      w += 64;
      x += 64;
    }
    const sum = i32x4.sub(sumFourIntegers(a, b, c, d), v128.load_splat<i32>(sums + (g << 2)));
    y = scaleGroup(y, sum, v128.load(scales + (g << 4)), xs + (g << 2));
  }
  return y;
}

/** out = x W^T for int4 weights; as int8MatMul, the group size a multiple of 32. */
export function int4MatMul(
  x: usize, xStride: u32, weights: usize, scales: usize, out: usize, outStride: u32,
  rows: u32, width: u32, groupSize: u32, firstOutput: u32, endOutput: u32,
): void {
  const groups = (width + groupSize - 1) / groupSize, padded = (width + 31) & ~31, stride = padded >> 1;
  for (let n = firstOutput; n < endOutput; n += 4) {
    const w = weights + <usize>n * stride, s = scales + <usize>n * (groups << 2), count = endOutput - n;
    for (let row: u32 = 0; row < rows; ++row) {
      const v = x + row * xStride;
      const y = int4Row(w, s, v, v + (padded << 1), groups, groupSize, width);
      storeOutputs(out + row * outStride + (n << 2), y, count);
    }
  }
}

/** The scale of (row n, group g) in the [row / 4][group][4] order. */
@inline function scaleOf(scales: usize, n: u32, g: u32, groups: u32): f32 {
  return load<f32>(scales + (<usize>((n >> 2) * groups + g) << 4) + ((n & 3) << 2));
}

/** out[row] = weight[tokens[row]] for int8 weights. Exact: code times f16 scale fits 24 bits. */
export function embedInt8(
  tokens: usize, weights: usize, scales: usize, out: usize, outStride: u32, rows: u32, width: u32, groupSize: u32,
): void {
  const groups = (width + groupSize - 1) / groupSize, stride = (width + 15) & ~15;
  for (let row: u32 = 0; row < rows; ++row) {
    const n = load<u32>(tokens + (row << 2)), w = weights + <usize>(n >> 2) * (stride << 2) + ((n & 3) << 4);
    for (let k: u32 = 0; k < width; ++k) {
      store<f32>(out + row * outStride + (k << 2), <f32>load<i8>(w + ((k >> 4) << 6) + (k & 15)) * scaleOf(scales, n, k / groupSize, groups));
    }
  }
}

/** out[row] = weight[tokens[row]] for int4 weights. */
export function embedInt4(
  tokens: usize, weights: usize, scales: usize, out: usize, outStride: u32, rows: u32, width: u32, groupSize: u32,
): void {
  const groups = (width + groupSize - 1) / groupSize, stride = ((width + 31) & ~31) >> 1;
  for (let row: u32 = 0; row < rows; ++row) {
    const n = load<u32>(tokens + (row << 2)), w = weights + <usize>(n >> 2) * (stride << 2) + ((n & 3) << 4);
    for (let k: u32 = 0; k < width; ++k) {
      const lane = <u32>load<u16>(w + ((k >> 5) << 6) + ((k & 7) << 1));
      const code = <i32>((lane >> (((k >> 3) & 3) << 2)) & 15) - 8;
      store<f32>(out + row * outStride + (k << 2), <f32>code * scaleOf(scales, n, k / groupSize, groups));
    }
  }
}
