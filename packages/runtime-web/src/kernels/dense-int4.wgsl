// int4 weights in groups with an f16 scale each, 32 columns in 16 bytes, low nibbles first.
#import halves
const COLUMNS: u32 = 32u;
const QUADS: u32 = 8u;
@group(0) @binding(5) var<storage, read> scales: array<u32>;

fn weightQuad(word: vec4<u32>, quad: u32) -> vec4<f32> {
  let four = (word[quad / 2u] ^ 0x88888888u) >> (16u * (quad % 2u));
  let nibbles = (vec4<u32>(four) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
  return bitcast<vec4<f32>>(nibbles | vec4<u32>(0x4b000000u)) - vec4<f32>(8388616.0);
}

fn scaleOf(row: u32, chunk: u32) -> f32 {
  let at = row * op.groups + chunk * COLUMNS / op.groupSize;
  return halfOf((scales[at / 2u] >> (16u * (at % 2u))) & 0xffffu);
}
