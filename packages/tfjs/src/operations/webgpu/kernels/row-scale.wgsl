#import reduce

// 1 / sqrt(mean(x^2) + epsilon) of a row, by all threads of a workgroup.
fn rowScale(row: u32, thread: u32) -> f32 {
  var sum = 0.0;
  for (var k = thread; k < uniforms.width; k += THREADS) {
    let value = x[row * uniforms.width + k];
    sum += value * value;
  }
  return inverseSqrt(reduceSum(sum, thread) * uniforms.share + uniforms.epsilon);
}
