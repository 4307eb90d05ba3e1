// Coefficients of groups with offsets: a group has two words, alpha0 and alpha1, then mu0 and mu1, in f16.
#import halves
@group(0) @binding(5) var<storage, read> levels: array<vec2<u32>>;

fn loadLevels(at: u32) -> vec2<u32> {
  return levels[at];
}

// w^ = c0 + c1 s + c2 m + c3 s m
fn coefficientsOf(pair: vec2<u32>) -> vec4<f32> {
  let alpha = unpackHalves(pair.x);
  let mu = unpackHalves(pair.y);
  let c0 = mu.x - alpha.x;
  return vec4<f32>(c0, 2.0 * alpha.x, (mu.y - alpha.y) - c0, 2.0 * (alpha.y - alpha.x));
}

fn coefficients(at: u32) -> vec4<f32> {
  return coefficientsOf(loadLevels(at));
}
