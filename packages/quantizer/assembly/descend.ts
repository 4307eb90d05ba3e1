// One pass of coordinate descent over quantized rows under the quadratic loss (w - q)^T H (w - q).

/**
 * For each column j in order and each row: of the 4 levels of (row, group of j) the one that lowers the loss most, ties to
 * the present one, then to the lower index. `g` [rows] holds H (q - w), `columns` f32 padded to whole vectors, and is kept
 * true. H [columns, columns] f32, symmetric, with rows of `stride` bytes as g has; codes u8 [rows, columns]; levels f32
 * [rows, groups, 4]. Returns how many codes changed.
 */
export function descend(
  h: usize, g: usize, stride: u32, codes: usize, levels: usize, rows: u32, columns: u32, groupSize: u32,
): u32 {
  const groups = (columns + groupSize - 1) / groupSize;
  let changes: u32 = 0;
  // Columns outside, rows inside: a row of H is read once for all of them.
  for (let j: u32 = 0; j < columns; ++j) {
    const line = h + j * stride, curvature = 0.5 * <f64>load<f32>(line + (j << 2));
    for (let row: u32 = 0; row < rows; ++row) {
      const code = codes + row * columns + j, table = levels + ((row * groups + j / groupSize) << 4);
      const gradient = g + row * stride, slope = <f64>load<f32>(gradient + (j << 2));
      const present = <u32>load<u8>(code), value = load<f32>(table + (present << 2));
      let best = present, least: f64 = 0;
      for (let i: u32 = 0; i < 4; ++i) {
        const step = <f64>load<f32>(table + (i << 2)) - <f64>value, change = (curvature * step + slope) * step;
        if (change < least) {
          least = change;
          best = i;
        }
      }
      if (best == present) continue;
      ++changes;
      store<u8>(code, <u8>best);
      const step4 = f32x4.splat(load<f32>(table + (best << 2)) - value);
      for (let k: u32 = 0; k < stride; k += 16) {
        v128.store(gradient + k, f32x4.add(v128.load(gradient + k), f32x4.mul(step4, v128.load(line + k))));
      }
    }
  }
  return changes;
}
