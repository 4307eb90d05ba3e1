// As it is.
@group(0) @binding(4) var<storage, read_write> cache: array<vec4<f32>>;

fn store(row: u32, quad: u32, x: vec4<f32>) {
  if (quad < op.quads) {
    cache[row * op.quads + quad] = x;
  }
}
