// Normal equations of the levels of one row when its codes are given: w ~ B l with B [columns, 4 groups] one-hot.

/** Columns summed at a time: 4 buckets and the sum weighted by w, f64, together in a first-level cache. */
const STRIP: u32 = 512;
/** Bytes of one of these lines of sums: not a multiple of 4 KiB, which a store and the next load would take for the same place. */
const LINE: u32 = 4160;
const buckets = memory.data(16640, 64);
const weighted = memory.data(4160, 64);

/**
 * A += B^T H B and r += B^T H w for one row: A [4 groups, 4 groups] f64, r [4 groups] f64. H [columns, columns] f32 is
 * symmetric, and what it has on and above its diagonal blocks is read; rows of `stride` bytes, and up to 12 bytes past the
 * last. Sums in f64, in a fixed order.
 */
export function sumLevels(
  h: usize, stride: u32, w: usize, codes: usize, a: usize, r: usize, columns: u32, groupSize: u32,
): void {
  const groups = (columns + groupSize - 1) / groupSize, side = groups << 5;
  for (let i: u32 = 0; i < groups; ++i) {
    const top = i * groupSize, height = min<u32>(groupSize, columns - top);
    for (let start = top; start < columns; start += STRIP) {
      const width = min<u32>(STRIP, columns - start), corner = h + top * stride + (start << 2);
      sumStrip(corner, stride, w + (top << 2), codes + top, height, (width + 3) & ~3);
      for (let k: u32 = 0; k < width; ++k) {
        const j = (start + k) / groupSize, column = (j << 2) + <u32>load<u8>(codes + start + k);
        const value = <f64>load<f32>(w + ((start + k) << 2));
        for (let c: u32 = 0; c < 4; ++c) {
          const sum = load<f64>(buckets + c * LINE + (k << 3)), line = (i << 2) + c;
          accumulate(a + line * side + (column << 3), sum);
          if (i != j) accumulate(a + column * side + (line << 3), sum);
          accumulate(r + (line << 3), sum * value);
        }
        if (i != j) accumulate(r + (column << 3), load<f64>(weighted + (k << 3)));
      }
    }
  }
}

@inline function accumulate(at: usize, value: f64): void {
  store<f64>(at, load<f64>(at) + value);
}

/** buckets[c][k] = sum of H[row][k] over rows of code c; weighted[k] = sum of w[row] H[row][k]. `width` a multiple of 4. */
function sumStrip(h: usize, stride: u32, w: usize, codes: usize, height: u32, width: u32): void {
  for (let c: u32 = 0; c < 4; ++c) memory.fill(buckets + c * LINE, 0, width << 3);
  memory.fill(weighted, 0, width << 3);
  for (let row: u32 = 0; row < height; ++row) {
    const bucket = buckets + <u32>load<u8>(codes + row) * LINE;
    const value = f64x2.splat(<f64>load<f32>(w + (row << 2)));
    for (let k: u32 = 0; k < width; k += 4) {
      const four = v128.load(h + (k << 2)), to = bucket + (k << 3), total = weighted + (k << 3);
      const low = f64x2.promote_low_f32x4(four);
      const high = f64x2.promote_low_f32x4(v128.shuffle<i64>(four, four, 1, 1));
      v128.store(to, f64x2.add(v128.load(to), low));
      v128.store(to, f64x2.add(v128.load(to, 16), high), 16);
      v128.store(total, f64x2.add(v128.load(total), f64x2.mul(value, low)));
      v128.store(total, f64x2.add(v128.load(total, 16), f64x2.mul(value, high)), 16);
    }
    h += stride;
  }
}
