// The gradient of scores, of that of their shares: scale * share * (g - sum(share g)). A workgroup a row.
#import common
#import reduce
#import seen

fn main(index: i32) {
  let row = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  let first = row * uniforms.tokens;
  let last = row % uniforms.tokens;
  let begin = firstSeen(last);
  var mean = 0.0;
  for (var k = begin + thread; k <= last; k += THREADS) {
    mean += shares[first + k] * gradient[first + k];
  }
  mean = reduceSum(mean, thread);
  if (row < uniforms.rows) {
    for (var k = thread; k < uniforms.tokens; k += THREADS) {
      var value = 0.0;
      if (k >= begin && k <= last) {
        value = uniforms.scale * shares[first + k] * (gradient[first + k] - mean);
      }
      result[first + k] = value;
    }
  }
}
