@group(0) @binding(3) var<storage, read> cache: array<vec4<f32>>;

fn load(row: u32, quad: u32) -> vec4<f32> {
  return cache[row * op.quads + quad];
}
