// Codes of 8 bits as cache-store-int8.wgsl writes them. A code becomes an f32 as the low bits of 2^23, which is faster than a conversion.
#import halves
@group(0) @binding(3) var<storage, read> cache: array<u32>;

fn load(row: u32, quad: u32) -> vec4<f32> {
  let groups = (op.quads + 7u) / 8u;
  let base = row * (groups + op.quads);
  let scale = unpackAnyHalves(cache[base + quad / 8u]);
  let codes = (vec4<u32>(cache[base + groups + quad]) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
  return fma(vec4<f32>(scale.y), bitcast<vec4<f32>>(codes | vec4<u32>(0x4b000000u)) - 8388608.0, vec4<f32>(scale.x));
}
