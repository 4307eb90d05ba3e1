// Packs W(1+1) weights while a model is loaded; w11.ts describes the layout.

/** Bytes of scratch: 32 transposed columns of both planes, then f64 sums of 16 rows. */
const PACK_SCRATCH: u32 = 256;

/** Words of rows r, r + 8, r + 1 and r + 9, sorted by their bytes: lane i holds byte i of the four. `at` is row r. */
@inline function loadRows(at: usize, stride: u32): v128 {
  let v = v128.load_splat<u32>(at);
  v = v128.load_lane<u32>(at + 8 * stride, v, 1);
  v = v128.load_lane<u32>(at + stride, v, 2);
  v = v128.load_lane<u32>(at + 9 * stride, v, 3);
  return i8x16.shuffle(v, v, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}

/** 32 columns of a plane's 16 rows, from row 0 at `at` on, to 4 vectors: byte i of every row becomes vector i. */
function transpose(at: usize, stride: u32, to: usize): void {
  const a = loadRows(at, stride), b = loadRows(at + 2 * stride, stride);
  const c = loadRows(at + 4 * stride, stride), d = loadRows(at + 6 * stride, stride);
  let ab = i32x4.shuffle(a, b, 0, 4, 1, 5), cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
  v128.store(to, i64x2.shuffle(ab, cd, 0, 2));
  v128.store(to, i64x2.shuffle(ab, cd, 1, 3), 16);
  ab = i32x4.shuffle(a, b, 2, 6, 3, 7); cd = i32x4.shuffle(c, d, 2, 6, 3, 7);
  v128.store(to, i64x2.shuffle(ab, cd, 0, 2), 32);
  v128.store(to, i64x2.shuffle(ab, cd, 1, 3), 48);
}

/** 4 f16 values as f32, infinity and NaN too. */
function loadLevels(at: usize): v128 {
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
function addWeights(sums: usize, levels: usize, a: v128, b: v128, c: v128, d: v128): void {
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
 * gets the f32 sum of each row's decoded weights. `scratch` takes PACK_SCRATCH bytes.
 */
export function packTile(
  sign: usize, bitmap: usize, alpha: usize, mu: usize, columns: u32, groupSize: u32,
  scratch: usize, to: usize, rowSums: usize,
): void {
  const stride = ((columns + 31) >> 5) << 2, levelStride = ((columns + groupSize - 1) / groupSize) << 2;
  const nibble = i8x16.splat(15), lowByte = i16x8.splat(255), sums = scratch + 128;
  memory.fill(sums, 0, 128);
  for (let first: u32 = 0; first < columns; first += groupSize) {
    const end = min<u32>(columns, first + groupSize), levels = to;
    copyLevels(mu, levelStride, to);
    copyLevels(alpha, levelStride, to + 32);
    mu += 4;
    alpha += 4;
    to += 128;
    // Bits set in sign, in bitmap and in both: of rows 0 to 7, the low bytes of 16-bit lanes, and of rows 8 to 15.
    let ls = i16x8.splat(0), lm = i16x8.splat(0), lp = i16x8.splat(0);
    let hs = i16x8.splat(0), hm = i16x8.splat(0), hp = i16x8.splat(0);
    for (let column = first; column < end; column += 32) {
      transpose(sign + (column >> 3), stride, scratch);
      transpose(bitmap + (column >> 3), stride, scratch + 64);
      let us = i8x16.splat(0), um = i8x16.splat(0), up = i8x16.splat(0);
      // 8 columns each time; a unit that begins past the last column is not there.
      for (let v = scratch, stop = v + (column + 16 < end ? 64 : 32); v < stop; v += 16) {
        const s = v128.load(v), m = v128.load(v, 64);
        v128.store(to, v128.or(v128.and(s, nibble), i16x8.shl(v128.and(m, nibble), 4)));
        v128.store(to, v128.or(v128.and(i16x8.shr_u(s, 4), nibble), v128.andnot(m, nibble)), 16);
        us = i8x16.add(us, i8x16.popcnt(s));
        um = i8x16.add(um, i8x16.popcnt(m));
        up = i8x16.add(up, i8x16.popcnt(v128.and(s, m)));
        to += 32;
      }
      ls = i16x8.add(ls, v128.and(us, lowByte)); hs = i16x8.add(hs, i16x8.shr_u(us, 8));
      lm = i16x8.add(lm, v128.and(um, lowByte)); hm = i16x8.add(hm, i16x8.shr_u(um, 8));
      lp = i16x8.add(lp, v128.and(up, lowByte)); hp = i16x8.add(hp, i16x8.shr_u(up, 8));
    }
    const all = i16x8.splat(<i16>(end - first));
    addGroup(sums, levels, all, ls, lm, lp);
    addGroup(sums + 64, levels + 16, all, hs, hm, hp);
  }
  for (let i: usize = 0; i < 64; i += 8) {
    v128.store64_lane(rowSums + i, f32x4.demote_f64x2_zero(v128.load(sums + 2 * i)), 0);
  }
}
