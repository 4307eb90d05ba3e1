// The gradient of a relaxed bitmap: g (outer level - inner level) on the weight's side of the middle, and what pushes it to 0 and 1.
#import common

fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let first = 4u * ((i / uniforms.columns) * uniforms.groups + (i % uniforms.columns) / uniforms.groupSize);
  let isAbove = latent[i] > 0.0;
  let inner = first + select(1u, 2u, isAbove);
  let outer = first + select(0u, 3u, isAbove);
  let u = 2.0 * bitmap[i] - 1.0;
  result[i] = gradient[i] * keep(levels[outer] - levels[inner]) + u * (1.0 - u * u) * uniforms.push;
}
