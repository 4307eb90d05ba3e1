// The inner loop of GPTQ (Frantar et al. 2022, arXiv 2210.17323, algorithm 1): quantizes the columns of one block in order
// and spreads each error over the columns of the block that follow.

/** Levels a row may have; thresholds between them lie here. */
const thresholds = memory.data(128, 16);

/**
 * For each row of `w` [rows, width] f32 and j = 0, 1, ...: the nearest of `levelCount` ascending levels gives codes[j];
 * e[j] = (w[j] - level) / U[j][j]; w[k] -= e[j] * U[j][k] for k > j. Strides in bytes, multiples of 16; `w` is used up.
 * w, e and U [width, width] are padded to whole vectors; what U has below its diagonal is not used.
 */
export function propagateErrors(
  w: usize, u: usize, stride: u32, levels: usize, levelCount: u32, codes: usize, e: usize, rows: u32, width: u32,
): void {
  for (let row: u32 = 0; row < rows; ++row) {
    // The sum of two f32 is exact in f64 unless they are 2^28 apart, so ties are found and go to the lower level.
    // Of equal levels the last is taken from above, the first from below.
    for (let i: u32 = 1; i < levelCount; ++i) {
      const middle = 0.5 * (<f64>load<f32>(levels + ((i - 1) << 2)) + <f64>load<f32>(levels + (i << 2)));
      store<f64>(thresholds + ((i - 1) << 3), middle);
    }
    const end = thresholds + ((levelCount - 1) << 3);
    for (let j: u32 = 0; j < width; ++j) {
      const value = load<f32>(w + (j << 2));
      let code: u32 = 0;
      for (let t = thresholds; t < end; t += 8) code += u32(<f64>value > load<f64>(t));
      store<u8>(codes + j, <u8>code);
      const line = u + j * stride;
      const error: f32 = (value - load<f32>(levels + (code << 2))) / load<f32>(line + (j << 2));
      store<f32>(e + (j << 2), error);
      const error4 = f32x4.splat(error);
      // From the start of a vector: columns up to j are done, so what happens to them is no matter.
      for (let k = ((j + 1) & ~3) << 2; k < width << 2; k += 16) {
        v128.store(w + k, f32x4.sub(v128.load(w + k), f32x4.mul(error4, v128.load(line + k))));
      }
    }
    w += stride;
    e += stride;
    codes += width;
    levels += levelCount << 2;
  }
}
