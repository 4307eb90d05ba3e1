// v1: no SIMD, weight by weight from the planes as the container has them. Levels: f32 [row][group][mu0, alpha0, mu1, alpha1]
// after the sign plane and the bitmap plane.

export function matvec(
  weights: usize,
  rowSums: usize,
  tables: usize,
  codes: usize,
  sums: usize,
  out: usize,
  rows: u32,
  columns: u32,
  groups: u32,
  groupSize: u32,
  lo: f32,
  step: f32,
): void {
  const plane = rows * (columns >> 3),
    stride = columns >> 3;
  for (let n: u32 = 0; n < rows; ++n) {
    let total: f32 = 0;
    for (let g: u32 = 0; g < groups; ++g) {
      const levels = weights + 2 * plane + ((n * groups + g) << 4);
      let s0: i32 = 0,
        d0: i32 = 0,
        s1: i32 = 0,
        d1: i32 = 0;
      for (let k = g * groupSize; k < (g + 1) * groupSize; ++k) {
        const at = weights + n * stride + (k >> 3),
          shift = <u8>(k & 7);
        const sign = <i32>(load<u8>(at) >> shift) & 1,
          bit = <i32>(load<u8>(at + plane) >> shift) & 1;
        const q = <i32>load<u8>(codes + k),
          signed = sign ? q : -q;
        if (bit) {
          s1 += q;
          d1 += signed;
        } else {
          s0 += q;
          d0 += signed;
        }
      }
      total +=
        load<f32>(levels) * <f32>s0 +
        load<f32>(levels, 4) * <f32>d0 +
        load<f32>(levels, 8) * <f32>s1 +
        load<f32>(levels, 12) * <f32>d1;
    }
    store<f32>(out + (n << 2), lo * load<f32>(rowSums + (n << 2)) + step * total);
  }
}
