@group(0) @binding(3) var<storage, read_write> cache: array<vec4<f32>>;

fn store(at: u32, x: vec4<f32>) {
  cache[at] = x;
}
