// v7: as v5, but one vector a turn of an inner loop. As one block of four V8 loads everything first, one sum after the other,
// and spills what it holds meanwhile; the loop (which V8 unrolls, branches included) keeps all in registers. Built twice:
// with relaxed SIMD a look-up is one instruction.

@inline function look(table: v128, index: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i8x16.relaxed_swizzle(table, index);
  return i8x16.swizzle(table, index);
}

@inline function widen(h: usize): v128 {
  return v128.and(i32x4.shl(v128.load_ext<i16>(h), 13), i32x4.splat(0x8fffe000));
}

@inline function combine(acc: v128, h: usize, a: v128, b: v128, c: v128, d: v128): v128 {
  acc = f32x4.add(acc, f32x4.mul(widen(h), f32x4.convert_i32x4_s(a)));
  acc = f32x4.add(acc, f32x4.mul(widen(h + 32), f32x4.convert_i32x4_s(b)));
  acc = f32x4.add(acc, f32x4.mul(widen(h + 64), f32x4.convert_i32x4_s(c)));
  return f32x4.add(acc, f32x4.mul(widen(h + 96), f32x4.convert_i32x4_s(d)));
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
      w += 128;
      let ls = i16x8.splat(0), lm = ls, lp = ls, hs = ls, hm = ls, hp = ls;
      for (let u = groupSize >> 4; u > 0; --u) {
        let us = i8x16.splat(0), um = us, up = us;
        for (const stop = w + 64; w < stop; w += 16) {
          const b = v128.load(w), e = i16x8.shr_u(b, 4), table = v128.load(t);
          const s = v128.and(b, nibble), m = v128.and(e, nibble), p = v128.and(s, e);
          us = i8x16.add(us, look(table, s)); um = i8x16.add(um, look(table, m)); up = i8x16.add(up, look(table, p));
          t += 16;
        }
        ls = i16x8.add(ls, us); lm = i16x8.add(lm, um); lp = i16x8.add(lp, up);
        hs = i16x8.add(hs, i16x8.shr_u(us, 8)); hm = i16x8.add(hm, i16x8.shr_u(um, 8)); hp = i16x8.add(hp, i16x8.shr_u(up, 8));
      }
      ls = i16x8.sub(ls, i16x8.shl(hs, 8)); lm = i16x8.sub(lm, i16x8.shl(hm, 8)); lp = i16x8.sub(lp, i16x8.shl(hp, 8));
      const q = i16x8.splat(load<i16>(sums + (g << 1)));
      let a = i16x8.sub(q, lm), d = i16x8.sub(i16x8.add(lp, lp), lm), c = i16x8.sub(i16x8.shl(i16x8.sub(ls, lp), 1), a);
      y0 = combine(y0, h, i32x4.extend_low_i16x8_s(a), i32x4.extend_low_i16x8_s(c), i32x4.extend_low_i16x8_s(lm), i32x4.extend_low_i16x8_s(d));
      y1 = combine(y1, h + 8, i32x4.extend_high_i16x8_s(a), i32x4.extend_high_i16x8_s(c), i32x4.extend_high_i16x8_s(lm), i32x4.extend_high_i16x8_s(d));
      a = i16x8.sub(q, hm); d = i16x8.sub(i16x8.add(hp, hp), hm); c = i16x8.sub(i16x8.shl(i16x8.sub(hs, hp), 1), a);
      y2 = combine(y2, h + 16, i32x4.extend_low_i16x8_s(a), i32x4.extend_low_i16x8_s(c), i32x4.extend_low_i16x8_s(hm), i32x4.extend_low_i16x8_s(d));
      y3 = combine(y3, h + 24, i32x4.extend_high_i16x8_s(a), i32x4.extend_high_i16x8_s(c), i32x4.extend_high_i16x8_s(hm), i32x4.extend_high_i16x8_s(d));
    }
    const st = f32x4.splat(step * 5192296858534827628530496329220096.0), l4 = f32x4.splat(lo), o = out + (n << 2), r = rowSums + (n << 2);
    v128.store(o, f32x4.add(f32x4.mul(st, y0), f32x4.mul(l4, v128.load(r))));
    v128.store(o, f32x4.add(f32x4.mul(st, y1), f32x4.mul(l4, v128.load(r, 16))), 16);
    v128.store(o, f32x4.add(f32x4.mul(st, y2), f32x4.mul(l4, v128.load(r, 32))), 32);
    v128.store(o, f32x4.add(f32x4.mul(st, y3), f32x4.mul(l4, v128.load(r, 48))), 48);
  }
}
