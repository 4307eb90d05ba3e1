// f32 weights, 4 columns in 16 bytes.
const COLUMNS: u32 = 4u;
const QUADS: u32 = 1u;

fn weightQuad(word: vec4<u32>, quad: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(word);
}

fn scaleOf(row: u32, chunk: u32) -> f32 {
  return 1.0;
}
