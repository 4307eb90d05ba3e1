// x / sqrt(mean(x^2) + epsilon) * weight, a workgroup a row.
#import common
#import row-scale

fn main(index: i32) {
  let row = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  let scale = rowScale(row, thread);
  if (row < uniforms.rows) {
    for (var k = thread; k < uniforms.width; k += THREADS) {
      result[row * uniforms.width + k] = x[row * uniforms.width + k] * scale * weight[k];
    }
  }
}
