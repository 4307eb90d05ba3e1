#import round-half
@group(0) @binding(4) var<storage, read_write> cache: array<u32>;

// Two values that begin at an even place.
fn storePair(at: u32, x: vec2<f32>) {
  cache[at / 2u] = roundHalf(x.x) | (roundHalf(x.y) << 16u);
}
