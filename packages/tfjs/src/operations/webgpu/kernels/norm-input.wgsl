// The gradient of a norm's input: with r the row's scale, r (g w) - x r^3 / width * sum(g w x). A workgroup a row.
#import common
#import reduce

fn main(index: i32) {
  let row = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  let first = row * uniforms.width;
  var sum = 0.0;
  for (var k = thread; k < uniforms.width; k += THREADS) {
    sum += gradient[first + k] * weight[k] * x[first + k];
  }
  sum = reduceSum(sum, thread);
  if (row < uniforms.rows) {
    let r = scale[row];
    let along = sum * uniforms.share * (r * r * r);
    for (var k = thread; k < uniforms.width; k += THREADS) {
      result[first + k] = r * (gradient[first + k] * weight[k]) - x[first + k] * along;
    }
  }
}
