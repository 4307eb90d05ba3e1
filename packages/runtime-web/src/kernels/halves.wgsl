// Two f16 values of a word, exact; subnormal ones too, which unpack2x16float may flush.
fn halfOf(bits: u32) -> f32 {
  let magnitude = bits & 0x7fffu;
  let normal = bitcast<f32>((magnitude << 13u) + 0x38000000u);
  let value = select(normal, f32(magnitude) * 0x1p-24f, magnitude < 0x400u);
  // What is not finite has the largest exponent there, too.
  let broken = select(0u, 0x7f800000u, magnitude >= 0x7c00u);
  return bitcast<f32>(bitcast<u32>(value) | broken | ((bits & 0x8000u) << 16u));
}

fn unpackHalves(word: u32) -> vec2<f32> {
  return vec2<f32>(halfOf(word & 0xffffu), halfOf(word >> 16u));
}
