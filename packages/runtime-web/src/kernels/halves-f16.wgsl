// Two f16 values of a word, by the device's own f16.
enable f16;

fn unpackHalves(word: u32) -> vec2<f32> {
  return vec2<f32>(bitcast<vec2<f16>>(word));
}

fn halfOf(bits: u32) -> f32 {
  return unpackHalves(bits).x;
}

fn unpackAnyHalves(word: u32) -> vec2<f32> {
  return unpackHalves(word);
}
