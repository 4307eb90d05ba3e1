// The gradient of a relaxed bitmap by its penalty's mean.
#import common

fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let u = 2.0 * bitmap[i] - 1.0;
  result[i] = u * (1.0 - u * u) * gradient[0] * uniforms.factor;
}
