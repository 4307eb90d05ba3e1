// Two f16 values of a word, exact; subnormal ones too, which unpack2x16float may flush.
fn halfOf(bits: u32) -> f32 {
  let magnitude = bits & 0x7fffu;
  let normal = bitcast<f32>((magnitude << 13u) + 0x38000000u);
  let value = select(normal, f32(magnitude) * 0x1p-24f, magnitude < 0x400u);
  return bitcast<f32>(bitcast<u32>(value) | ((bits & 0x8000u) << 16u));
}

fn unpackHalves(word: u32) -> vec2<f32> {
  return vec2<f32>(halfOf(word & 0xffffu), halfOf(word >> 16u));
}

// Of numbers that need not be finite, as those of weights are: what is not becomes NaN or infinite.
fn unpackAnyHalves(word: u32) -> vec2<f32> {
  let magnitudes = vec2<u32>(word, word >> 16u) & vec2<u32>(0x7fffu);
  let broken = select(vec2<u32>(0u), vec2<u32>(0x7f800000u), magnitudes >= vec2<u32>(0x7c00u));
  return bitcast<vec2<f32>>(bitcast<vec2<u32>>(unpackHalves(word)) | broken);
}
