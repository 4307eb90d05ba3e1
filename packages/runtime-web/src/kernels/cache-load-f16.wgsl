// f16, two to a word.
#import halves
@group(0) @binding(3) var<storage, read> cache: array<vec2<u32>>;

fn load(row: u32, quad: u32) -> vec4<f32> {
  let words = cache[row * op.quads + quad];
  return vec4<f32>(unpackAnyHalves(words.x), unpackAnyHalves(words.y));
}
