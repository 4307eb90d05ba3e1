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
// Work: 64 weights cost 1 load + 4 operations to part the nibbles + 1 table load + 3 shuffles (2 instructions each on
// x86, which must saturate the indices) + 3 adds = 15 instructions, and widening to 16 bits every 4 vectors adds 9 / 4.
// So about 17 instructions for 64 weights; at 4 a cycle that is 15 weights a cycle. Levels and conversion add about 110 a
// group of 2,048 weights, about 20 %. Experiments and measured figures: experiments/kernels/w11-matvec-wasm.
//
// Bounds: a byte holds 4 tables (4 * 60 = 240), a 16-bit lane holds a whole group of up to 256 columns (15 * 256).

/** 4 f16 levels as f32 * 2^-112: the missing factor is exact and is applied once, to the finished row. */
@inline function widen(levels: usize): v128 {
  return v128.and(i32x4.shl(v128.load_ext<i16>(levels), 13), i32x4.splat(0x8fffe000));
}

/**
 * Adds one group of 4 rows: mu0 * a + alpha0 * b + mu1 * c + alpha1 * d. An integer below 2^13 times an f16 value fits
 * f32's 24 bits, so all products are exact and only the additions round.
 */
@inline function addLevels(sum: v128, levels: usize, a: v128, b: v128, c: v128, d: v128): v128 {
  sum = f32x4.add(sum, f32x4.mul(widen(levels), f32x4.convert_i32x4_s(a)));
  sum = f32x4.add(sum, f32x4.mul(widen(levels + 32), f32x4.convert_i32x4_s(b)));
  sum = f32x4.add(sum, f32x4.mul(widen(levels + 64), f32x4.convert_i32x4_s(c)));
  return f32x4.add(sum, f32x4.mul(widen(levels + 96), f32x4.convert_i32x4_s(d)));
}

@inline function finish(sum: v128, step: v128, lo: v128, rowSums: usize): v128 {
  const unscaled = f32x4.mul(sum, f32x4.splat(5192296858534827628530496329220096.0));
  return f32x4.add(f32x4.mul(step, unscaled), f32x4.mul(lo, v128.load(rowSums)));
}

/** Sum of the codes of each group, one i16 a group: entry 15 of a table is the sum of its 4 codes. */
function sumCodes(tables: usize, sums: usize, groups: u32, unitsPerGroup: u32, lastUnits: u32): void {
  for (let g: u32 = 0; g < groups; ++g) {
    const count: u32 = (g + 1 == groups ? lastUnits : unitsPerGroup) << 2;
    let sum: u32 = 0;
    for (let i: u32 = 0; i < count; ++i) sum += load<u8>(tables + (i << 4), 15);
    store<u16>(sums + (g << 1), <u16>sum);
    tables += count << 4;
  }
}

/**
 * out[row][n] = lo * rowSum[n] + step * sum over groups, for the tiles `firstTile <= tile < endTile`.
 * `weights` and `rowSums` point at tile 0. A unit is 16 columns. `params` holds (lo, step) a row.
 * `scratch` takes rows * groups * 2 bytes, rounded up to 16, and 64 bytes more.
 */
export function w11MatMul(
  weights: usize, rowSums: usize, tables: usize, tableStride: u32, params: usize, scratch: usize,
  out: usize, outStride: u32, rows: u32, outputs: u32, firstTile: u32, endTile: u32,
  groups: u32, unitsPerGroup: u32, lastUnits: u32,
): void {
  for (let row: u32 = 0; row < rows; ++row) {
    sumCodes(tables + row * tableStride, scratch + ((row * groups) << 1), groups, unitsPerGroup, lastUnits);
  }
  const spill = scratch + (((rows * groups << 1) + 15) & ~15);
  const tileBytes: u32 = (groups << 7) + (((groups - 1) * unitsPerGroup + lastUnits) << 6);
  for (let tile = firstTile; tile < endTile; ++tile) {
    const valid = min<u32>(16, outputs - (tile << 4));
    const w = weights + tile * tileBytes, constants = rowSums + (tile << 6);
    for (let row: u32 = 0; row < rows; ++row) {
      const t = tables + row * tableStride, q = scratch + ((row * groups) << 1), scale = params + (row << 3);
      const target = out + row * outStride + (tile << 6);
      // Two calls, so that the compiler keeps the tile a function of its own: inlined, it runs a tenth slower for
      // want of registers.
      if (valid == 16) {
        multiplyTile(w, constants, t, q, scale, target, groups, unitsPerGroup, lastUnits);
      } else {
        multiplyTile(w, constants, t, q, scale, spill, groups, unitsPerGroup, lastUnits);
        memory.copy(target, spill, valid << 2);
      }
    }
  }
}

/** One tile of 16 rows by one row of activations; `scale` holds (lo, step), `sums` the groups' sums of codes. */
function multiplyTile(
  w: usize, rowSums: usize, t: usize, sums: usize, scale: usize, out: usize,
  groups: u32, unitsPerGroup: u32, lastUnits: u32,
): void {
  const nibble = i8x16.splat(15);
  let y0 = f32x4.splat(0), y1 = f32x4.splat(0), y2 = f32x4.splat(0), y3 = f32x4.splat(0);
  for (let g: u32 = 1; g <= groups; ++g) {
    const levels = w;
    w += 128;
    // Per 16-bit lane: `l…` adds whole lanes (mod 2^16), `h…` adds their high bytes; the low bytes' sum is l - (h << 8).
    let ls = i16x8.splat(0), lm = i16x8.splat(0), lp = i16x8.splat(0);
    let hs = i16x8.splat(0), hm = i16x8.splat(0), hp = i16x8.splat(0);
    for (let u: u32 = g == groups ? lastUnits : unitsPerGroup; u > 0; --u) {
      let b = v128.load(w), e = i16x8.shr_u(b, 4);
      let s = v128.and(b, nibble), m = v128.and(e, nibble), p = v128.and(s, e);
      let table = v128.load(t);
      let us = i8x16.swizzle(table, s), um = i8x16.swizzle(table, m), up = i8x16.swizzle(table, p);

      b = v128.load(w, 16); e = i16x8.shr_u(b, 4);
      s = v128.and(b, nibble); m = v128.and(e, nibble); p = v128.and(s, e);
      table = v128.load(t, 16);
      us = i8x16.add(us, i8x16.swizzle(table, s));
      um = i8x16.add(um, i8x16.swizzle(table, m));
      up = i8x16.add(up, i8x16.swizzle(table, p));

      b = v128.load(w, 32); e = i16x8.shr_u(b, 4);
      s = v128.and(b, nibble); m = v128.and(e, nibble); p = v128.and(s, e);
      table = v128.load(t, 32);
      us = i8x16.add(us, i8x16.swizzle(table, s));
      um = i8x16.add(um, i8x16.swizzle(table, m));
      up = i8x16.add(up, i8x16.swizzle(table, p));

      b = v128.load(w, 48); e = i16x8.shr_u(b, 4);
      s = v128.and(b, nibble); m = v128.and(e, nibble); p = v128.and(s, e);
      table = v128.load(t, 48);
      us = i8x16.add(us, i8x16.swizzle(table, s));
      um = i8x16.add(um, i8x16.swizzle(table, m));
      up = i8x16.add(up, i8x16.swizzle(table, p));

      ls = i16x8.add(ls, us); lm = i16x8.add(lm, um); lp = i16x8.add(lp, up);
      hs = i16x8.add(hs, i16x8.shr_u(us, 8));
      hm = i16x8.add(hm, i16x8.shr_u(um, 8));
      hp = i16x8.add(hp, i16x8.shr_u(up, 8));
      w += 64;
      t += 64;
    }
    ls = i16x8.sub(ls, i16x8.shl(hs, 8));
    lm = i16x8.sub(lm, i16x8.shl(hm, 8));
    lp = i16x8.sub(lp, i16x8.shl(hp, 8));

    // With S, Ss, Sm, Sp the sums over all, s, m, s AND m, the coefficients of mu0, alpha0, mu1, alpha1 are
    // S - Sm,  2 (Ss - Sp) - (S - Sm),  Sm,  2 Sp - Sm; all below 2^13 in magnitude.
    const all = i16x8.splat(load<i16>(sums + ((g - 1) << 1)));
    let a = i16x8.sub(all, lm);
    let d = i16x8.sub(i16x8.add(lp, lp), lm);
    let c = i16x8.sub(i16x8.shl(i16x8.sub(ls, lp), 1), a);
    y0 = addLevels(
      y0, levels, i32x4.extend_low_i16x8_s(a), i32x4.extend_low_i16x8_s(c),
      i32x4.extend_low_i16x8_s(lm), i32x4.extend_low_i16x8_s(d),
    );
    y1 = addLevels(
      y1, levels + 8, i32x4.extend_high_i16x8_s(a), i32x4.extend_high_i16x8_s(c),
      i32x4.extend_high_i16x8_s(lm), i32x4.extend_high_i16x8_s(d),
    );
    a = i16x8.sub(all, hm);
    d = i16x8.sub(i16x8.add(hp, hp), hm);
    c = i16x8.sub(i16x8.shl(i16x8.sub(hs, hp), 1), a);
    y2 = addLevels(
      y2, levels + 16, i32x4.extend_low_i16x8_s(a), i32x4.extend_low_i16x8_s(c),
      i32x4.extend_low_i16x8_s(hm), i32x4.extend_low_i16x8_s(d),
    );
    y3 = addLevels(
      y3, levels + 24, i32x4.extend_high_i16x8_s(a), i32x4.extend_high_i16x8_s(c),
      i32x4.extend_high_i16x8_s(hm), i32x4.extend_high_i16x8_s(d),
    );
  }
  const lo4 = v128.load_splat<f32>(scale), step4 = v128.load_splat<f32>(scale, 4);
  v128.store(out, finish(y0, step4, lo4, rowSums));
  v128.store(out, finish(y1, step4, lo4, rowSums + 16), 16);
  v128.store(out, finish(y2, step4, lo4, rowSums + 32), 32);
  v128.store(out, finish(y3, step4, lo4, rowSums + 48), 48);
}
