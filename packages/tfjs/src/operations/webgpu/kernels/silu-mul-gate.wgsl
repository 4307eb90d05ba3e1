// The gradient of the gate: g up s (1 + gate (1 - s)), s = sigmoid(gate).
#import common
#import sigmoid

fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let s = sigmoid(gate[i]);
  result[i] = gradient[i] * up[i] * (s + gate[i] * s * sigmoid(-gate[i]));
}
