@group(0) @binding(4) var<storage, read_write> cache: array<f32>;

// Two values that begin at an even place.
fn storePair(at: u32, x: vec2<f32>) {
  cache[at] = x.x;
  cache[at + 1u] = x.y;
}
