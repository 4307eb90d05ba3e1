// f16, two to a word.
#import round-half
@group(0) @binding(3) var<storage, read_write> cache: array<vec2<u32>>;

fn store(at: u32, x: vec4<f32>) {
  cache[at] = vec2<u32>(roundHalf(x.x) | (roundHalf(x.y) << 16u), roundHalf(x.z) | (roundHalf(x.w) << 16u));
}
