// What rotations have in common.

// Rudin-Shapiro: -1 where the digits of k hold "11" an odd number of times.
fn signed(x: f32, k: u32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ (countOneBits(k & (k >> 1u)) << 31u));
}

// Of a pair whose lower place has the bit `half` clear.
fn lowerPlace(pair: u32, half: u32) -> u32 {
  return ((pair & ~(half - 1u)) << 1u) | (pair & (half - 1u));
}
