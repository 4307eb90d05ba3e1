// v4: the 4 sign bits and the 4 bitmap bits of a row share one byte, so one load and 4 operations part 64 weights; and the
// cheap way to 16 bits: whole lanes and their high bytes are added, the low bytes' sum comes out at the group's end.
// Byte lanes 2 r and 2 r + 1 hold rows r and 8 + r. Levels f32 as v3.

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
      for (let u = groupSize >> 4; u > 0; --u) {
        let b = v128.load(w), e = i16x8.shr_u(b, 4), s = v128.and(b, nibble), m = v128.and(e, nibble), p = v128.and(s, e);
        let table = v128.load(t);
        let us = i8x16.swizzle(table, s), um = i8x16.swizzle(table, m), up = i8x16.swizzle(table, p);
        b = v128.load(w, 16); e = i16x8.shr_u(b, 4); s = v128.and(b, nibble); m = v128.and(e, nibble); p = v128.and(s, e);
        table = v128.load(t, 16);
        us = i8x16.add(us, i8x16.swizzle(table, s)); um = i8x16.add(um, i8x16.swizzle(table, m)); up = i8x16.add(up, i8x16.swizzle(table, p));
        b = v128.load(w, 32); e = i16x8.shr_u(b, 4); s = v128.and(b, nibble); m = v128.and(e, nibble); p = v128.and(s, e);
        table = v128.load(t, 32);
        us = i8x16.add(us, i8x16.swizzle(table, s)); um = i8x16.add(um, i8x16.swizzle(table, m)); up = i8x16.add(up, i8x16.swizzle(table, p));
        b = v128.load(w, 48); e = i16x8.shr_u(b, 4); s = v128.and(b, nibble); m = v128.and(e, nibble); p = v128.and(s, e);
        table = v128.load(t, 48);
        us = i8x16.add(us, i8x16.swizzle(table, s)); um = i8x16.add(um, i8x16.swizzle(table, m)); up = i8x16.add(up, i8x16.swizzle(table, p));
        ls = i16x8.add(ls, us); lm = i16x8.add(lm, um); lp = i16x8.add(lp, up);
        hs = i16x8.add(hs, i16x8.shr_u(us, 8)); hm = i16x8.add(hm, i16x8.shr_u(um, 8)); hp = i16x8.add(hp, i16x8.shr_u(up, 8));
        w += 64;
        t += 64;
      }
      ls = i16x8.sub(ls, i16x8.shl(hs, 8)); lm = i16x8.sub(lm, i16x8.shl(hm, 8)); lp = i16x8.sub(lp, i16x8.shl(hp, 8));
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
