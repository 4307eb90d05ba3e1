// Dynamic 4-bit quantization of activations (docs/numerics.md, "Activations"), straight into the subset-sum tables that
// the W(1+1) kernel looks up, and back. Every step is one correctly rounded f32 operation, in the order that the reference takes.
import { storePart } from './simd';

/** The 16 subset sums of codes 4 j .. 4 j + 3; entry e sums the codes whose bit is set in e. Index 255 gives 0. */
@inline function storeTable(tables: usize, codes: v128, j: u8): void {
  const base = i8x16.splat(<i8>(j << 2));
  const n: i8 = -1;
  const sum = i8x16.add(
    i8x16.add(
      i8x16.swizzle(codes, v128.or(base, i8x16(n, 0, n, 0, n, 0, n, 0, n, 0, n, 0, n, 0, n, 0))),
      i8x16.swizzle(codes, v128.or(base, i8x16(n, n, 1, 1, n, n, 1, 1, n, n, 1, 1, n, n, 1, 1))),
    ),
    i8x16.add(
      i8x16.swizzle(codes, v128.or(base, i8x16(n, n, n, n, 2, 2, 2, 2, n, n, n, n, 2, 2, 2, 2))),
      i8x16.swizzle(codes, v128.or(base, i8x16(n, n, n, n, n, n, n, n, 3, 3, 3, 3, 3, 3, 3, 3))),
    ),
  );
  v128.store(tables + (<usize>j << 4), sum);
}

/** min(max(rne((x - lo) / step), 0), 15) of 4 values, as i32. */
@inline function encode(x: usize, lo: v128, step: v128): v128 {
  const t = f32x4.nearest(f32x4.div(f32x4.sub(v128.load(x), lo), step));
  return i32x4.trunc_sat_f32x4_s(f32x4.pmin(f32x4.splat(15), f32x4.pmax(f32x4.splat(0), t)));
}

@inline function fold(v: v128, high: bool): f32 {
  const a = f32x4.extract_lane(v, 0), b = f32x4.extract_lane(v, 1);
  const c = f32x4.extract_lane(v, 2), d = f32x4.extract_lane(v, 3);
  return high ? max<f32>(max<f32>(a, b), max<f32>(c, d)) : min<f32>(min<f32>(a, b), min<f32>(c, d));
}

/**
 * Rows of `width` f32 to tables of 4 * (width rounded up to 16) bytes, (lo, step) a row, and the sum of the codes of every
 * 32 columns as i16. Columns past the width get code 0. A row with a value that is not finite gets lo = step = NaN and codes 0, so that the fault shows in the result.
 * Reads up to 60 bytes past the end of a row.
 */
export function quantizeActivations(
  input: usize, inputStride: u32, tables: usize, tableStride: u32, sums: usize, sumStride: u32,
  params: usize, rows: u32, width: u32, clipLow: f32, clipHigh: f32,
): void {
  for (let row: u32 = 0; row < rows; ++row) {
    const x = input + row * inputStride, to = tables + row * tableStride;
    // x - x is 0 for a finite value and NaN for any other, which lets the cheap min and max ignore NaN.
    let low4 = f32x4.splat(Infinity), high4 = f32x4.splat(-Infinity), fault4 = f32x4.splat(0);
    const whole = width & ~3;
    for (let k: u32 = 0; k < whole; k += 4) {
      const v = v128.load(x + (k << 2));
      low4 = f32x4.pmin(low4, v);
      high4 = f32x4.pmax(high4, v);
      fault4 = f32x4.add(fault4, f32x4.sub(v, v));
    }
    let low = fold(low4, false), high = fold(high4, true);
    let fault = f32x4.extract_lane(fault4, 0) + f32x4.extract_lane(fault4, 1)
      + f32x4.extract_lane(fault4, 2) + f32x4.extract_lane(fault4, 3);
    for (let k = whole; k < width; ++k) {
      const v = load<f32>(x + (k << 2));
      low = min<f32>(low, v);
      high = max<f32>(high, v);
      fault += v - v;
    }
    let lo = clipLow * low, hi = clipHigh * high;
    const range = hi - lo;
    let step: f32 = range > 0 ? range / 15 : 0;
    if (fault != 0 || !(abs<f32>(range) < Infinity)) {
      lo = NaN;
      step = NaN;
    }
    store<f32>(params + (row << 3), lo);
    store<f32>(params + (row << 3), step, 4);
    if (!(step > 0)) {
      memory.fill(to, 0, tableStride);
      memory.fill(sums + row * sumStride, 0, sumStride);
      continue;
    }
    const lo4 = f32x4.splat(lo), step4 = f32x4.splat(step);
    const lanes = i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (let k: u32 = 0; k < width; k += 16) {
      const v = x + (k << 2);
      const low8 = i16x8.narrow_i32x4_s(encode(v, lo4, step4), encode(v + 16, lo4, step4));
      const high8 = i16x8.narrow_i32x4_s(encode(v + 32, lo4, step4), encode(v + 48, lo4, step4));
      let codes = i8x16.narrow_i16x8_u(low8, high8);
      if (width - k < 16) codes = v128.and(codes, i8x16.lt_u(lanes, i8x16.splat(<i8>(width - k))));
      const table = to + (k << 2);
      storeTable(table, codes, 0);
      storeTable(table, codes, 1);
      storeTable(table, codes, 2);
      storeTable(table, codes, 3);
      // The last entry of a table is the sum of its 4 codes.
      const sum = <u32>load<u8>(table, 15) + load<u8>(table, 31) + load<u8>(table, 47) + load<u8>(table, 63);
      const total = sums + row * sumStride + ((k >> 5) << 1);
      store<u16>(total, <u16>((k & 16 ? <u32>load<u16>(total) : 0) + sum));
    }
  }
}

/**
 * Rows of `width` values that tables stand for: lo + step * code, each step rounded to f32. Entry 1 << j of a table is the code
 * of its column j. The padding of rows is left alone.
 */
export function decodeActivations(
  tables: usize, tableStride: u32, params: usize, out: usize, outStride: u32, rows: u32, width: u32,
): void {
  const n: i8 = -1;
  const singles = i8x16(1, n, n, n, 2, n, n, n, 4, n, n, n, 8, n, n, n);
  for (let row: u32 = 0; row < rows; ++row) {
    const lo = v128.load32_splat(params + (row << 3)), step = v128.load32_splat(params + (row << 3), 4);
    const from = tables + row * tableStride, to = out + row * outStride;
    for (let k: u32 = 0; k < width; k += 4) {
      const codes = f32x4.convert_i32x4_s(i8x16.swizzle(v128.load(from + (k << 2)), singles));
      storePart(to + (k << 2), f32x4.add(lo, f32x4.mul(step, codes)), width - k);
    }
  }
}
