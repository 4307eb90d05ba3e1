// Of each row the sum of weight[column] * (output - wanted)^2. A workgroup a row.
#import common
#import reduce

fn main(index: i32) {
  let row = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  var sum = 0.0;
  for (var k = thread; k < uniforms.width; k += THREADS) {
    let difference = output[row * uniforms.width + k] - wanted[row * uniforms.width + k];
    sum += weights[k] * difference * difference;
  }
  sum = reduceSum(sum, thread);
  if (thread == 0u && row < uniforms.rows) {
    result[row] = sum;
  }
}
