// int8 weights in groups with an f16 scale each, 16 columns in 16 bytes. A byte becomes an f32 as the low bits of 2^23, which is
// faster than a conversion.
#import halves
const COLUMNS: u32 = 16u;
const QUADS: u32 = 4u;
@group(0) @binding(5) var<storage, read> scales: array<u32>;

fn weightQuad(word: vec4<u32>, quad: u32) -> vec4<f32> {
  let bytes = (vec4<u32>(word[quad] ^ 0x80808080u) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu);
  return bitcast<vec4<f32>>(bytes | vec4<u32>(0x4b000000u)) - vec4<f32>(8388736.0);
}

fn scaleOf(row: u32, chunk: u32) -> f32 {
  let at = row * op.groups + chunk * COLUMNS / op.groupSize;
  return halfOf((scales[at / 2u] >> (16u * (at % 2u))) & 0xffffu);
}
