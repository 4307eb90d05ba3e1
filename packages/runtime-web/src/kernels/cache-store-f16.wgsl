// f16, two to a word.
#import round-half
@group(0) @binding(4) var<storage, read_write> cache: array<vec2<u32>>;

fn store(row: u32, quad: u32, x: vec4<f32>) {
  if (quad < op.quads) {
    let halves = vec4<u32>(roundHalf(x.x), roundHalf(x.y), roundHalf(x.z), roundHalf(x.w));
    cache[row * op.quads + quad] = halves.xz | (halves.yw << vec2<u32>(16u));
  }
}
