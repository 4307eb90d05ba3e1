// Sums over rows, times `factor`: always in the same order. A workgroup a column.
#import common
#import reduce

fn main(index: i32) {
  let column = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  var sum = 0.0;
  for (var row = thread; row < uniforms.rows; row += THREADS) {
    sum += parts[row * uniforms.width + column];
  }
  sum = reduceSum(sum, thread);
  if (thread == 0u && column < uniforms.width) {
    result[column] = sum * uniforms.factor;
  }
}
