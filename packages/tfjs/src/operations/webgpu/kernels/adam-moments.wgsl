// Means of gradients, and behind them means of their squares, moved in place.
#import common

fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let g = gradient[i] * scale[0];
  let j = i + uniforms.count;
  result[i] = uniforms.keepMean * result[i] + uniforms.addMean * g;
  result[j] = uniforms.keepSquare * result[j] + uniforms.addSquare * g * g;
}
