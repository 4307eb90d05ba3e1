// The gradient of a norm's weights: g x r summed over rows. A workgroup a column.
#import common
#import reduce

fn main(index: i32) {
  let column = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  var sum = 0.0;
  for (var row = thread; row < uniforms.rows; row += THREADS) {
    let at = row * uniforms.width + column;
    sum += gradient[at] * x[at] * scale[row];
  }
  sum = reduceSum(sum, thread);
  if (thread == 0u && column < uniforms.width) {
    result[column] = sum;
  }
}
