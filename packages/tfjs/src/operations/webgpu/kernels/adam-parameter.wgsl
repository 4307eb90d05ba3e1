// A parameter moved in place: rate * mean / (sqrt(square * unbias) + epsilon), the rate with the bias of the mean in it.
#import common

fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let root = sqrt(moments[i + uniforms.count] * uniforms.unbias) + uniforms.epsilon;
  result[i] -= uniforms.rate * moments[i] / root;
}
