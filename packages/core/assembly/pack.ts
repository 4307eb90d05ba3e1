// Packs the bits of W(1+1) weights while a model is loaded; w11.ts describes the layout.

/** Words of rows r, r + 8, r + 1 and r + 9, sorted by their bytes: lane i holds byte i of the four. `at` is row r. */
@inline function loadRows(at: usize, stride: u32): v128 {
  let v = v128.load_splat<u32>(at);
  v = v128.load_lane<u32>(at + 8 * stride, v, 1);
  v = v128.load_lane<u32>(at + stride, v, 2);
  v = v128.load_lane<u32>(at + 9 * stride, v, 3);
  return i8x16.shuffle(v, v, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}

/** 8 columns: two vectors of the layout from the sign bytes and the bitmap bytes of 16 rows. */
@inline function storeColumns(to: usize, s: v128, m: v128): void {
  const low = i8x16.splat(15);
  v128.store(to, v128.or(v128.and(s, low), i16x8.shl(v128.and(m, low), 4)));
  v128.store(to, v128.or(v128.and(i16x8.shr_u(s, 4), low), v128.andnot(m, low)), 16);
}

@inline function countBits(a: v128, b: v128, c: v128, d: v128): v128 {
  return i8x16.add(i8x16.add(i8x16.popcnt(a), i8x16.popcnt(b)), i8x16.add(i8x16.popcnt(c), i8x16.popcnt(d)));
}

/**
 * Packs one tile but for its levels, whose room is passed over. `sign` and `bitmap` are the bits of 16 rows, rows of whole
 * 32-bit words with zeros past the last column. `counts` gets for every group the bits set in sign, in bitmap and in both:
 * u16 [group][3][16 rows].
 */
export function packTile(
  sign: usize, bitmap: usize, columns: u32, groupSize: u32, to: usize, counts: usize,
): void {
  const stride = ((columns + 31) >> 5) << 2, lowByte = i16x8.splat(255);
  for (let first: u32 = 0; first < columns; first += groupSize) {
    const end = min<u32>(columns, first + groupSize);
    to += 128;
    // Rows 0 to 7 are the low bytes of 16-bit lanes, rows 8 to 15 the high ones.
    let ls = i16x8.splat(0), lm = i16x8.splat(0), lp = i16x8.splat(0);
    let hs = i16x8.splat(0), hm = i16x8.splat(0), hp = i16x8.splat(0);
    for (let column = first; column < end; column += 32) {
      let at = sign + (column >> 3);
      let a = loadRows(at, stride), b = loadRows(at + 2 * stride, stride);
      let c = loadRows(at + 4 * stride, stride), d = loadRows(at + 6 * stride, stride);
      let ab = i32x4.shuffle(a, b, 0, 4, 1, 5), cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
      const s0 = i64x2.shuffle(ab, cd, 0, 2), s1 = i64x2.shuffle(ab, cd, 1, 3);
      ab = i32x4.shuffle(a, b, 2, 6, 3, 7); cd = i32x4.shuffle(c, d, 2, 6, 3, 7);
      const s2 = i64x2.shuffle(ab, cd, 0, 2), s3 = i64x2.shuffle(ab, cd, 1, 3);

      at = bitmap + (column >> 3);
      a = loadRows(at, stride); b = loadRows(at + 2 * stride, stride);
      c = loadRows(at + 4 * stride, stride); d = loadRows(at + 6 * stride, stride);
      ab = i32x4.shuffle(a, b, 0, 4, 1, 5); cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
      const m0 = i64x2.shuffle(ab, cd, 0, 2), m1 = i64x2.shuffle(ab, cd, 1, 3);
      ab = i32x4.shuffle(a, b, 2, 6, 3, 7); cd = i32x4.shuffle(c, d, 2, 6, 3, 7);
      const m2 = i64x2.shuffle(ab, cd, 0, 2), m3 = i64x2.shuffle(ab, cd, 1, 3);

      storeColumns(to, s0, m0);
      storeColumns(to + 32, s1, m1);
      to += 64;
      if (column + 16 < end) {
        storeColumns(to, s2, m2);
        storeColumns(to + 32, s3, m3);
        to += 64;
      }
      const s = countBits(s0, s1, s2, s3), m = countBits(m0, m1, m2, m3);
      const p = countBits(v128.and(s0, m0), v128.and(s1, m1), v128.and(s2, m2), v128.and(s3, m3));
      ls = i16x8.add(ls, v128.and(s, lowByte)); hs = i16x8.add(hs, i16x8.shr_u(s, 8));
      lm = i16x8.add(lm, v128.and(m, lowByte)); hm = i16x8.add(hm, i16x8.shr_u(m, 8));
      lp = i16x8.add(lp, v128.and(p, lowByte)); hp = i16x8.add(hp, i16x8.shr_u(p, 8));
    }
    v128.store(counts, ls);
    v128.store(counts, hs, 16);
    v128.store(counts, lm, 32);
    v128.store(counts, hm, 48);
    v128.store(counts, lp, 64);
    v128.store(counts, hp, 80);
    counts += 96;
  }
}
