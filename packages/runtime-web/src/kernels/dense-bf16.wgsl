// bf16 weights, 8 columns in 16 bytes.
const COLUMNS: u32 = 8u;
const QUADS: u32 = 2u;

fn weightQuad(word: vec4<u32>, quad: u32) -> vec4<f32> {
  let low = word[2u * quad];
  let high = word[2u * quad + 1u];
  return bitcast<vec4<f32>>(vec4<u32>(low << 16u, low & 0xffff0000u, high << 16u, high & 0xffff0000u));
}

fn scaleOf(row: u32, chunk: u32) -> f32 {
  return 1.0;
}
