// gate * sigmoid(gate) * up
#import common
#import sigmoid

fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  result[i] = gate[i] * sigmoid(gate[i]) * up[i];
}
