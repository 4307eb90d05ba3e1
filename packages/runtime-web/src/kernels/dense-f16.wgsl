// f16 weights, 8 columns in 16 bytes.
#import halves
const COLUMNS: u32 = 8u;
const QUADS: u32 = 2u;

fn weightQuad(word: vec4<u32>, quad: u32) -> vec4<f32> {
  return vec4<f32>(unpackHalves(word[2u * quad]), unpackHalves(word[2u * quad + 1u]));
}

fn scaleOf(row: u32, chunk: u32) -> f32 {
  return 1.0;
}
