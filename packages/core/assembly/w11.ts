// W(1+1) x A4: the exact lookup kernel.
//
// Layout of the weights, one contiguous stream read front to back. For each tile of 16 rows and each group of columns:
//   128 bytes   f16 levels [mu0 | alpha0 | mu1 | alpha1][16 rows]
//   64 bytes    for every 16 columns: 4 vectors, each serving 4 columns of the 16 rows; one byte a row:
//               low nibble = the 4 sign bits, high nibble = the 4 bitmap bits (bit j = column 4 i + j).
// Byte lane 2 r holds row r of the tile and lane 2 r + 1 holds row 8 + r, so that the low and the high bytes of the
// 16-bit lanes come out as rows 0-7 and 8-15 in order.
//
// Layout of the activations: for every 4 columns the 16 subset sums of their codes (0..60, exact in a byte). A byte
// shuffle of that table by the sign nibbles gives the masked sums of 16 rows at once; likewise for the bitmap nibbles and
// for sign AND bitmap.
//
// One row (decode) reads the stream as it is: 1 load and 4 operations part the nibbles of 64 weights, then come 1 load,
// 3 look-ups and 3 additions, and every 4 vectors 9 operations that widen. Several rows (prefill) first expand a tile to
// one vector of indices for each look-up and to f32 levels, which all rows of a band then read from the first-level cache:
// 4 loads, 3 look-ups, 3 additions and the widening. Figures: experiments/kernels/w11-matvec-wasm.
//
// Bounds: a byte holds 4 tables (4 * 60 = 240), a 16-bit lane holds a whole group of up to 256 columns (15 * 256).

import { look, mulAdd } from './simd';

/** Rows that read one expanded tile: the tables of 32 rows of 1,536 columns take 192 KiB of the second-level cache. */
const BAND: u32 = 32;
/** Units of 16 columns that are expanded at a time, or one group: 18 KiB of indices. */
const CHUNK: u32 = 96;
const EXPANDED_LEVELS: u32 = 256;
const EXPANDED_UNIT: u32 = 192;
/** Bytes of scratch: sums of a band, and an expanded chunk of groups of 32 columns, the shortest. */
const W11_SCRATCH: u32 = BAND * 64 + CHUNK * EXPANDED_UNIT + (CHUNK / 2) * EXPANDED_LEVELS;

/** 4 f16 levels as f32 * 2^-112: the missing factor is exact and is applied once, to the finished row. */
@inline function widen(levels: usize): v128 {
  return v128.and(i32x4.shl(v128.load_ext<i16>(levels), 13), i32x4.splat(0x8fffe000));
}

/** Level `kind` (mu0, alpha0, mu1, alpha1) of rows 4 i to 4 i + 3. */
@inline function level(levels: usize, kind: u32, i: u32, expanded: bool): v128 {
  return expanded ? v128.load(levels + (kind << 6) + (i << 4)) : widen(levels + (kind << 5) + (i << 3));
}

/**
 * Adds one group of 4 rows: mu0 * a + alpha0 * b + mu1 * c + alpha1 * d. An integer below 2^13 times an f16 value fits
 * f32's 24 bits, so all products are exact and only the additions round, the relaxed form's too.
 */
@inline function addLevels(y: usize, levels: usize, i: u32, expanded: bool, a: v128, b: v128, c: v128, d: v128): void {
  let sum = v128.load(y + (i << 4));
  sum = mulAdd(sum, level(levels, 0, i, expanded), f32x4.convert_i32x4_s(a));
  sum = mulAdd(sum, level(levels, 1, i, expanded), f32x4.convert_i32x4_s(b));
  sum = mulAdd(sum, level(levels, 2, i, expanded), f32x4.convert_i32x4_s(c));
  sum = mulAdd(sum, level(levels, 3, i, expanded), f32x4.convert_i32x4_s(d));
  v128.store(y + (i << 4), sum);
}

/**
 * y[16 rows] += the levels of one group times their coefficients. With S, Ss, Sm, Sp the sums over all, s, m, s AND m, the
 * coefficients of mu0, alpha0, mu1, alpha1 are S - Sm,  2 (Ss - Sp) - (S - Sm),  Sm,  2 Sp - Sm; all below 2^13 in magnitude.
 * Per 16-bit lane: `l…` are sums of whole lanes (mod 2^16), `h…` of their high bytes; the low bytes' sum is l - (h << 8).
 */
@inline function addGroup(
  y: usize, levels: usize, expanded: bool, all: v128,
  ls: v128, lm: v128, lp: v128, hs: v128, hm: v128, hp: v128,
): void {
  ls = i16x8.sub(ls, i16x8.shl(hs, 8));
  lm = i16x8.sub(lm, i16x8.shl(hm, 8));
  lp = i16x8.sub(lp, i16x8.shl(hp, 8));
  let a = i16x8.sub(all, lm);
  let d = i16x8.sub(i16x8.add(lp, lp), lm);
  let c = i16x8.sub(i16x8.shl(i16x8.sub(ls, lp), 1), a);
  addLevels(
    y, levels, 0, expanded, i32x4.extend_low_i16x8_s(a), i32x4.extend_low_i16x8_s(c),
    i32x4.extend_low_i16x8_s(lm), i32x4.extend_low_i16x8_s(d),
  );
  addLevels(
    y, levels, 1, expanded, i32x4.extend_high_i16x8_s(a), i32x4.extend_high_i16x8_s(c),
    i32x4.extend_high_i16x8_s(lm), i32x4.extend_high_i16x8_s(d),
  );
  a = i16x8.sub(all, hm);
  d = i16x8.sub(i16x8.add(hp, hp), hm);
  c = i16x8.sub(i16x8.shl(i16x8.sub(hs, hp), 1), a);
  addLevels(
    y, levels, 2, expanded, i32x4.extend_low_i16x8_s(a), i32x4.extend_low_i16x8_s(c),
    i32x4.extend_low_i16x8_s(hm), i32x4.extend_low_i16x8_s(d),
  );
  addLevels(
    y, levels, 3, expanded, i32x4.extend_high_i16x8_s(a), i32x4.extend_high_i16x8_s(c),
    i32x4.extend_high_i16x8_s(hm), i32x4.extend_high_i16x8_s(d),
  );
}

/** Sum of the codes of `units` units; `sums` holds one i16 for every 32 columns. */
@inline function sumCodes(sums: usize, units: u32): v128 {
  let total: i32 = 0;
  for (const end = sums + ((units + 1) & ~1); sums < end; sums += 2) total += load<i16>(sums);
  return i16x8.splat(<i16>total);
}

/** y += one tile, as it is stored, times one row of activations. */
function addTile(w: usize, t: usize, sums: usize, y: usize, groups: u32, unitsPerGroup: u32, lastUnits: u32): void {
  const nibble = i8x16.splat(15);
  for (let g: u32 = 1; g <= groups; ++g) {
    const levels = w, units = g == groups ? lastUnits : unitsPerGroup;
    w += 128;
    let ls = i16x8.splat(0), lm = i16x8.splat(0), lp = i16x8.splat(0);
    let hs = i16x8.splat(0), hm = i16x8.splat(0), hp = i16x8.splat(0);
    for (const end = w + (units << 6); w < end; ) {
      let us = i8x16.splat(0), um = i8x16.splat(0), up = i8x16.splat(0);
      // A loop, though it is short: as one block V8 loads everything first, and spills it for want of registers.
      for (const stop = w + 64; w < stop; w += 16) {
        const b = v128.load(w), e = i16x8.shr_u(b, 4), table = v128.load(t);
        const s = v128.and(b, nibble), m = v128.and(e, nibble), p = v128.and(s, e);
        us = i8x16.add(us, look(table, s));
        um = i8x16.add(um, look(table, m));
        up = i8x16.add(up, look(table, p));
        t += 16;
      }
      ls = i16x8.add(ls, us); hs = i16x8.add(hs, i16x8.shr_u(us, 8));
      lm = i16x8.add(lm, um); hm = i16x8.add(hm, i16x8.shr_u(um, 8));
      lp = i16x8.add(lp, up); hp = i16x8.add(hp, i16x8.shr_u(up, 8));
    }
    addGroup(y, levels, false, sumCodes(sums, units), ls, lm, lp, hs, hm, hp);
    sums += units;
  }
}

/**
 * Expands groups of a tile: for each f32 levels (as `widen` gives them), then for every 16 columns the indices s, m and p of
 * its 4 vectors. Returns the end of what it read.
 */
function expand(w: usize, to: usize, groups: u32, unitsPerGroup: u32, lastUnits: u32): usize {
  const nibble = i8x16.splat(15);
  for (let g: u32 = 1; g <= groups; ++g) {
    for (const end = w + 128; w < end; w += 8) {
      v128.store(to, widen(w));
      to += 16;
    }
    for (const end = w + ((g == groups ? lastUnits : unitsPerGroup) << 6); w < end; w += 16) {
      const b = v128.load(w), e = i16x8.shr_u(b, 4), s = v128.and(b, nibble);
      v128.store(to, s);
      v128.store(to, v128.and(e, nibble), 16);
      v128.store(to, v128.and(s, e), 32);
      to += 48;
    }
  }
  return w;
}

/** y += an expanded piece of a tile times one row of activations. */
function addExpanded(w: usize, t: usize, sums: usize, y: usize, groups: u32, unitsPerGroup: u32, lastUnits: u32): void {
  for (let g: u32 = 1; g <= groups; ++g) {
    const levels = w, units = g == groups ? lastUnits : unitsPerGroup;
    w += EXPANDED_LEVELS;
    let ls = i16x8.splat(0), lm = i16x8.splat(0), lp = i16x8.splat(0);
    let hs = i16x8.splat(0), hm = i16x8.splat(0), hp = i16x8.splat(0);
    for (const end = t + (units << 6); t < end; t += 64) {
      const t0 = v128.load(t), t1 = v128.load(t, 16), t2 = v128.load(t, 32), t3 = v128.load(t, 48);
      const us = i8x16.add(
        i8x16.add(look(t0, v128.load(w)), look(t1, v128.load(w, 48))),
        i8x16.add(look(t2, v128.load(w, 96)), look(t3, v128.load(w, 144))),
      );
      ls = i16x8.add(ls, us); hs = i16x8.add(hs, i16x8.shr_u(us, 8));
      const um = i8x16.add(
        i8x16.add(look(t0, v128.load(w, 16)), look(t1, v128.load(w, 64))),
        i8x16.add(look(t2, v128.load(w, 112)), look(t3, v128.load(w, 160))),
      );
      lm = i16x8.add(lm, um); hm = i16x8.add(hm, i16x8.shr_u(um, 8));
      const up = i8x16.add(
        i8x16.add(look(t0, v128.load(w, 32)), look(t1, v128.load(w, 80))),
        i8x16.add(look(t2, v128.load(w, 128)), look(t3, v128.load(w, 176))),
      );
      lp = i16x8.add(lp, up); hp = i16x8.add(hp, i16x8.shr_u(up, 8));
      w += EXPANDED_UNIT;
    }
    addGroup(y, levels, true, sumCodes(sums, units), ls, lm, lp, hs, hm, hp);
    sums += units;
  }
}

/** out = lo * row sums + step * y for the first `valid` of 16 rows; y is overwritten. */
function finish(y: usize, scale: usize, rowSums: usize, out: usize, valid: u32): void {
  const lo = v128.load_splat<f32>(scale), step = v128.load_splat<f32>(scale, 4);
  const to = valid == 16 ? out : y;
  for (let i: usize = 0; i < 64; i += 16) {
    const unscaled = f32x4.mul(v128.load(y + i), f32x4.splat(5192296858534827628530496329220096.0));
    v128.store(to + i, f32x4.add(f32x4.mul(step, unscaled), f32x4.mul(lo, v128.load(rowSums + i))));
  }
  if (valid < 16) memory.copy(out, y, valid << 2);
}

/**
 * out[row][n] = lo * rowSum[n] + step * sum over groups, for the tiles `firstTile <= tile < endTile`.
 * `weights` and `rowSums` point at tile 0. A unit is 16 columns. `params` holds (lo, step) a row, `sums` the sum of the codes
 * of every 32 columns. `scratch` takes W11_SCRATCH bytes.
 */
export function w11MatMul(
  weights: usize, rowSums: usize, tables: usize, tableStride: u32, sums: usize, sumStride: u32, params: usize,
  scratch: usize, out: usize, outStride: u32, rows: u32, outputs: u32, firstTile: u32, endTile: u32,
  groups: u32, unitsPerGroup: u32, lastUnits: u32,
): void {
  const tileBytes: u32 = (groups << 7) + (((groups - 1) * unitsPerGroup + lastUnits) << 6);
  const chunk = max<u32>(1, CHUNK / unitsPerGroup), expanded = scratch + BAND * 64;
  for (let band: u32 = 0; band < rows; band += BAND) {
    const count = min<u32>(BAND, rows - band);
    const t = tables + band * tableStride, q = sums + band * sumStride, scale = params + (band << 3);
    for (let tile = firstTile; tile < endTile; ++tile) {
      let w = weights + tile * tileBytes;
      // Not memory.fill, which calls out of the module.
      for (let y = scratch; y < scratch + (count << 6); y += 16) v128.store(y, i32x4.splat(0));
      if (rows == 1) {
        addTile(w, t, q, scratch, groups, unitsPerGroup, lastUnits);
      } else {
        for (let first: u32 = 0; first < groups; first += chunk) {
          const some = min<u32>(chunk, groups - first), last = first + some == groups ? lastUnits : unitsPerGroup;
          const units = first * unitsPerGroup;
          w = expand(w, expanded, some, unitsPerGroup, last);
          for (let row: u32 = 0; row < count; ++row) {
            addExpanded(
              expanded, t + row * tableStride + (units << 6), q + row * sumStride + units, scratch + (row << 6),
              some, unitsPerGroup, last,
            );
          }
        }
      }
      const valid = min<u32>(16, outputs - (tile << 4)), to = out + band * outStride + (tile << 6);
      for (let row: u32 = 0; row < count; ++row) {
        finish(scratch + (row << 6), scale + (row << 3), rowSums + (tile << 6), to + row * outStride, valid);
      }
    }
  }
}
