// The gradient of the output: factor * g * weight[column] * (output - wanted), g the one of the error.
#import common

fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  result[i] = uniforms.factor * gradient[0] * weights[i % uniforms.width] * (output[i] - wanted[i]);
}
