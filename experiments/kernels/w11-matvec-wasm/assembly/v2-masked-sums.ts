// v2: SIMD, one row at a time: 16 columns' bits become byte masks that select codes; masked codes are added in bytes
// (at most 17 of 15) and folded by pairwise widening. Layout as v1.

@inline function expand(bits: usize): v128 {
  const both = v128.load_splat<u16>(bits);
  const spread = i8x16.swizzle(both, i8x16(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
  const select = i8x16(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
  return i8x16.eq(v128.and(spread, select), select);
}

@inline function fold(v: v128): f32 {
  const w = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(v));
  return <f32>(i32x4.extract_lane(w, 0) + i32x4.extract_lane(w, 1) + i32x4.extract_lane(w, 2) + i32x4.extract_lane(w, 3));
}

export function matvec(
  weights: usize, rowSums: usize, tables: usize, codes: usize, sums: usize, out: usize,
  rows: u32, columns: u32, groups: u32, groupSize: u32, lo: f32, step: f32,
): void {
  const plane = rows * (columns >> 3), stride = columns >> 3;
  for (let n: u32 = 0; n < rows; ++n) {
    let total: f32 = 0;
    for (let g: u32 = 0; g < groups; ++g) {
      const levels = weights + 2 * plane + ((n * groups + g) << 4);
      let ss = i8x16.splat(0), sm = ss, sp = ss;
      for (let k = g * groupSize; k < (g + 1) * groupSize; k += 16) {
        const at = weights + n * stride + (k >> 3), q = v128.load(codes + k);
        const m = v128.and(q, expand(at + plane)), sign = expand(at);
        ss = i8x16.add(ss, v128.and(q, sign));
        sm = i8x16.add(sm, m);
        sp = i8x16.add(sp, v128.and(m, sign));
      }
      const s = fold(ss), m = fold(sm), p = fold(sp), a = <f32>load<i16>(sums + (g << 1)) - m;
      total += load<f32>(levels) * a + load<f32>(levels, 4) * (2 * (s - p) - a)
        + load<f32>(levels, 8) * m + load<f32>(levels, 12) * (2 * p - m);
    }
    store<f32>(out + (n << 2), lo * load<f32>(rowSums + (n << 2)) + step * total);
  }
}
