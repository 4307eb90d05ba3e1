// Packs W(1+1) weights while a model is loaded; w11.ts describes the layout.

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

/** 4 f16 values as f32, infinity and NaN too. */
@inline function loadLevels(at: usize): v128 {
  const top = i32x4.splat(0x0f800000);
  const v = v128.and(i32x4.shl(v128.load_ext<i16>(at), 13), i32x4.splat(0x8fffe000));
  const special = v128.and(i32x4.eq(v128.and(v, top), top), i32x4.splat(0x7f800000));
  return v128.or(f32x4.mul(v, f32x4.splat(5192296858534827628530496329220096.0)), special);
}

/** sum + (x * a + y * b) of 2 rows. */
@inline function addProducts(sum: v128, x: v128, a: v128, y: v128, b: v128): v128 {
  const first = f64x2.mul(f64x2.promote_low_f32x4(x), f64x2.convert_low_i32x4_s(a));
  const second = f64x2.mul(f64x2.promote_low_f32x4(y), f64x2.convert_low_i32x4_s(b));
  return f64x2.add(sum, f64x2.add(first, second));
}

@inline function high(v: v128): v128 {
  return i64x2.shuffle(v, v, 1, 1);
}

/** Adds a group's decoded weights to the f64 sums of 4 rows: a, b, c, d are how often the 4 levels come, of alphas less -1. */
@inline function addWeights(sums: usize, levels: usize, a: v128, b: v128, c: v128, d: v128): void {
  const mu0 = loadLevels(levels), alpha0 = loadLevels(levels + 32);
  const mu1 = loadLevels(levels + 64), alpha1 = loadLevels(levels + 96);
  const low = addProducts(v128.load(sums), mu0, a, alpha0, b);
  v128.store(sums, addProducts(low, mu1, c, alpha1, d));
  const rest = addProducts(v128.load(sums, 16), high(mu0), high(a), high(alpha0), high(b));
  v128.store(sums, addProducts(rest, high(mu1), high(c), high(alpha1), high(d)), 16);
}

/** `addWeights` for 8 rows, from the numbers of columns and of bits set in sign, in bitmap and in both. */
function addGroup(sums: usize, levels: usize, all: v128, s: v128, m: v128, p: v128): void {
  const a = i16x8.sub(all, m), b = i16x8.sub(i16x8.shl(i16x8.sub(s, p), 1), a), d = i16x8.sub(i16x8.shl(p, 1), m);
  addWeights(
    sums, levels, i32x4.extend_low_i16x8_s(a), i32x4.extend_low_i16x8_s(b),
    i32x4.extend_low_i16x8_s(m), i32x4.extend_low_i16x8_s(d),
  );
  addWeights(
    sums + 32, levels + 8, i32x4.extend_high_i16x8_s(a), i32x4.extend_high_i16x8_s(b),
    i32x4.extend_high_i16x8_s(m), i32x4.extend_high_i16x8_s(d),
  );
}

/** Levels of group g: pairs of f16, rows `stride` bytes apart, to every second one of 4 vectors of 16 rows. */
@inline function copyLevels(pairs: usize, stride: u32, to: usize): void {
  for (let row: u32 = 0; row < 16; ++row) {
    store<u16>(to + (row << 1), load<u16>(pairs + row * stride));
    store<u16>(to + (row << 1), load<u16>(pairs + row * stride, 2), 64);
  }
}

/**
 * Packs one tile, from planes of its 16 rows: rows of bits are whole 32-bit words with zeros past the last column. `rowSums`
 * gets the f32 sum of each row's decoded weights; `sums` takes 128 bytes for them meanwhile.
 */
export function packTile(
  sign: usize, bitmap: usize, alpha: usize, mu: usize, columns: u32, groupSize: u32, sums: usize, to: usize, rowSums: usize,
): void {
  const stride = ((columns + 31) >> 5) << 2, levelStride = ((columns + groupSize - 1) / groupSize) << 2;
  const lowByte = i16x8.splat(255);
  for (let i: usize = 0; i < 128; i += 16) v128.store(sums + i, i32x4.splat(0));
  for (let first: u32 = 0; first < columns; first += groupSize) {
    const end = min<u32>(columns, first + groupSize);
    const levels = to;
    copyLevels(mu, levelStride, to);
    copyLevels(alpha, levelStride, to + 32);
    mu += 4;
    alpha += 4;
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
    const all = i16x8.splat(<i16>(end - first));
    addGroup(sums, levels, all, ls, lm, lp);
    addGroup(sums + 64, levels + 16, all, hs, hm, hp);
  }
  for (let i: usize = 0; i < 64; i += 8) {
    v128.store64_lane(rowSums + i, f32x4.demote_f64x2_zero(v128.load(sums + 2 * i)), 0);
  }
}
