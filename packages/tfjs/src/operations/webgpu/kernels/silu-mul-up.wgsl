// The gradient of `up`: g gate sigmoid(gate).
#import common
#import sigmoid

fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  result[i] = gradient[i] * gate[i] * sigmoid(gate[i]);
}
