// Codes of 4 bits as cache-store-int4.wgsl writes them. A code becomes an f32 as the low bits of 2^23, which is faster than a conversion.
#import halves
@group(0) @binding(3) var<storage, read> cache: array<u32>;

fn load(row: u32, quad: u32) -> vec4<f32> {
  let groups = (op.quads + 7u) / 8u;
  let base = row * (groups + (op.quads + 1u) / 2u);
  let scale = unpackAnyHalves(cache[base + quad / 8u]);
  let word = cache[base + groups + quad / 2u] >> (16u * (quad % 2u));
  let codes = (vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
  return fma(vec4<f32>(scale.y), bitcast<vec4<f32>>(codes | vec4<u32>(0x4b000000u)) - 8388608.0, vec4<f32>(scale.x));
}
