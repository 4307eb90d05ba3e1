// Coefficients of groups without offsets: a group has one word, alpha0 and alpha1 in f16.
#import halves
@group(0) @binding(5) var<storage, read> levels: array<u32>;

fn loadLevels(at: u32) -> vec2<u32> {
  return vec2<u32>(levels[at], 0u);
}

// w^ = c0 + c1 s + c2 m + c3 s m
fn coefficientsOf(pair: vec2<u32>) -> vec4<f32> {
  let alpha = unpackHalves(pair.x);
  return vec4<f32>(-alpha.x, 2.0 * alpha.x, alpha.x - alpha.y, 2.0 * (alpha.y - alpha.x));
}

fn coefficients(at: u32) -> vec4<f32> {
  return coefficientsOf(loadLevels(at));
}
