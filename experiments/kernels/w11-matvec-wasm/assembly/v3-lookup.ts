// v3: the prototype's lookup. Tiles of 16 rows, one byte a row; a vector of sign bits and one of bitmap bits serve 8
// columns (low nibble 0-3, high nibble 4-7). Subset sums by byte shuffle, sums of at most four tables in bytes, then
// widened by extension. Levels f32 c0..c3 [tile][group][c][16 rows] before each group's bits.

@inline function combine(acc: v128, h: usize, q: v128, s: v128, m: v128, p: v128): v128 {
  acc = f32x4.add(acc, f32x4.mul(v128.load(h), q));
  acc = f32x4.add(acc, f32x4.mul(v128.load(h, 64), f32x4.convert_i32x4_s(s)));
  acc = f32x4.add(acc, f32x4.mul(v128.load(h, 128), f32x4.convert_i32x4_s(m)));
  return f32x4.add(acc, f32x4.mul(v128.load(h, 192), f32x4.convert_i32x4_s(p)));
}

export function matvec(
  weights: usize, rowSums: usize, tables: usize, codes: usize, sums: usize, out: usize,
  rows: u32, columns: u32, groups: u32, groupSize: u32, lo: f32, step: f32,
): void {
  const nibble = i8x16.splat(15);
  let w = weights;
  for (let n: u32 = 0; n < rows; n += 16) {
    let y0 = f32x4.splat(0), y1 = y0, y2 = y0, y3 = y0;
    let t = tables;
    for (let g: u32 = 0; g < groups; ++g) {
      const h = w;
      w += 256;
      let ls = i16x8.splat(0), lm = ls, lp = ls, hs = ls, hm = ls, hp = ls;
      for (let k: u32 = 0; k < groupSize; k += 16) {
        let us = i8x16.splat(0), um = us, up = us;
        for (let half: u32 = 0; half < 2; ++half) {
          const s = v128.load(w), m = v128.load(w, 16), p = v128.and(s, m);
          let table = v128.load(t);
          us = i8x16.add(us, i8x16.swizzle(table, v128.and(s, nibble)));
          um = i8x16.add(um, i8x16.swizzle(table, v128.and(m, nibble)));
          up = i8x16.add(up, i8x16.swizzle(table, v128.and(p, nibble)));
          table = v128.load(t, 16);
          us = i8x16.add(us, i8x16.swizzle(table, v128.and(i16x8.shr_u(s, 4), nibble)));
          um = i8x16.add(um, i8x16.swizzle(table, v128.and(i16x8.shr_u(m, 4), nibble)));
          up = i8x16.add(up, i8x16.swizzle(table, v128.and(i16x8.shr_u(p, 4), nibble)));
          w += 32;
          t += 32;
        }
        ls = i16x8.add(ls, i16x8.extend_low_i8x16_u(us)); hs = i16x8.add(hs, i16x8.extend_high_i8x16_u(us));
        lm = i16x8.add(lm, i16x8.extend_low_i8x16_u(um)); hm = i16x8.add(hm, i16x8.extend_high_i8x16_u(um));
        lp = i16x8.add(lp, i16x8.extend_low_i8x16_u(up)); hp = i16x8.add(hp, i16x8.extend_high_i8x16_u(up));
      }
      const q = f32x4.splat(<f32>load<i16>(sums + (g << 1)));
      y0 = combine(y0, h, q, i32x4.extend_low_i16x8_u(ls), i32x4.extend_low_i16x8_u(lm), i32x4.extend_low_i16x8_u(lp));
      y1 = combine(y1, h + 16, q, i32x4.extend_high_i16x8_u(ls), i32x4.extend_high_i16x8_u(lm), i32x4.extend_high_i16x8_u(lp));
      y2 = combine(y2, h + 32, q, i32x4.extend_low_i16x8_u(hs), i32x4.extend_low_i16x8_u(hm), i32x4.extend_low_i16x8_u(hp));
      y3 = combine(y3, h + 48, q, i32x4.extend_high_i16x8_u(hs), i32x4.extend_high_i16x8_u(hm), i32x4.extend_high_i16x8_u(hp));
    }
    const st = f32x4.splat(step), l4 = f32x4.splat(lo), o = out + (n << 2), r = rowSums + (n << 2);
    v128.store(o, f32x4.add(f32x4.mul(st, y0), f32x4.mul(l4, v128.load(r))));
    v128.store(o, f32x4.add(f32x4.mul(st, y1), f32x4.mul(l4, v128.load(r, 16))), 16);
    v128.store(o, f32x4.add(f32x4.mul(st, y2), f32x4.mul(l4, v128.load(r, 32))), 32);
    v128.store(o, f32x4.add(f32x4.mul(st, y3), f32x4.mul(l4, v128.load(r, 48))), 48);
  }
}
