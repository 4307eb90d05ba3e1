// A logit in the order of unsigned integers.
fn keyOf(logit: f32) -> u32 {
  let held = bitcast<u32>(logit);
  // Zeros are equal, whatever their signs.
  let bits = select(held, 0u, held == 0x80000000u);
  let key = select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
  // What is not a number comes out on top, so that it is seen.
  return select(key, 0xffffffffu, (bits & 0x7fffffffu) > 0x7f800000u);
}
