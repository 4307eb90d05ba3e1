// Of each row 1 / sqrt(mean(x^2) + epsilon), which both gradients of a norm need.
#import common
#import row-scale

fn main(index: i32) {
  let row = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  let scale = rowScale(row, thread);
  if (thread == 0u && row < uniforms.rows) {
    result[row] = scale;
  }
}
