// Sums of squares of the values of one gradient, a workgroup each, into places of their own from `first` on.
#import common
#import reduce

fn main(index: i32) {
  let part = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  var sum = 0.0;
  for (var i = u32(index); i < uniforms.count; i += uniforms.parts * THREADS) {
    sum += gradient[i] * gradient[i];
  }
  sum = reduceSum(sum, thread);
  if (thread == 0u && part < uniforms.parts) {
    result[uniforms.first + part] = sum;
  }
}
