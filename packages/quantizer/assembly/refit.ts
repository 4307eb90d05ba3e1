// Normal equations of the levels of one row when its codes are given: w ~ B l with B [columns, 4 groups] one-hot.

/** Longest group: its sums lie here, 4 buckets and the sum weighted by w, f64. */
const MAX_GROUP: u32 = 1024;
const buckets = memory.data(32768, 16);
const weighted = memory.data(8192, 16);

/**
 * A += B^T H B and r += B^T H w for one row: A [4 groups, 4 groups] f64, r [4 groups] f64. H [columns, columns] f32 is
 * symmetric and its blocks on and above the diagonal are read; rows of `stride` bytes, padded with zeros to a whole vector,
 * as w f32 is. Groups of up to MAX_GROUP columns, a multiple of 4. Sums in f64, in a fixed order.
 */
export function sumLevels(
  h: usize, stride: u32, w: usize, codes: usize, a: usize, r: usize, columns: u32, groupSize: u32,
): void {
  const groups = (columns + groupSize - 1) / groupSize, side = groups << 5;
  for (let i: u32 = 0; i < groups; ++i) {
    for (let j = i; j < groups; ++j) {
      const top = i * groupSize, start = j * groupSize, height = min<u32>(groupSize, columns - top);
      const width = min<u32>(groupSize, columns - start);
      sumBlock(h + top * stride + (start << 2), stride, w + (top << 2), codes + top, height, (width + 3) & ~3);
      for (let k: u32 = 0; k < width; ++k) {
        const code = <u32>load<u8>(codes + start + k), value = <f64>load<f32>(w + ((start + k) << 2));
        for (let c: u32 = 0; c < 4; ++c) {
          const sum = load<f64>(buckets + ((c * MAX_GROUP + k) << 3)), line = (i << 2) + c, column = (j << 2) + code;
          accumulate(a + line * side + (column << 3), sum);
          if (i != j) accumulate(a + column * side + (line << 3), sum);
          accumulate(r + (line << 3), sum * value);
        }
        if (i != j) accumulate(r + (((j << 2) + code) << 3), load<f64>(weighted + (k << 3)));
      }
    }
  }
}

@inline function accumulate(at: usize, value: f64): void {
  store<f64>(at, load<f64>(at) + value);
}

/** buckets[c][k] = sum of H[row][k] over rows of code c; weighted[k] = sum of w[row] H[row][k]. `width` a multiple of 4. */
function sumBlock(h: usize, stride: u32, w: usize, codes: usize, height: u32, width: u32): void {
  for (let c: u32 = 0; c < 4; ++c) memory.fill(buckets + ((c * MAX_GROUP) << 3), 0, width << 3);
  memory.fill(weighted, 0, width << 3);
  for (let row: u32 = 0; row < height; ++row) {
    const bucket = buckets + ((<u32>load<u8>(codes + row) * MAX_GROUP) << 3);
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
