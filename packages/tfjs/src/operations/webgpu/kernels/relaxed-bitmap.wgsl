// The gradient of a relaxed bitmap: g (outer level - inner level) on the weight's side of the middle.
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
  result[i] = gradient[i] * keep(levels[outer] - levels[inner]);
}
