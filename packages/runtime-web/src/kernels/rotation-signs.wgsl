// Rudin-Shapiro: -1 where the digits of k hold "11" an odd number of times.
fn signed(x: f32, k: u32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ (countOneBits(k & (k >> 1u)) << 31u));
}
