#import halves
@group(0) @binding(3) var<storage, read> cache: array<vec2<u32>>;

fn load(at: u32) -> vec4<f32> {
  let words = cache[at];
  return vec4<f32>(unpackHalves(words.x), unpackHalves(words.y));
}
