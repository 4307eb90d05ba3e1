// Causal softmax of scores times `scale`; 0 where a position does not look. A workgroup a row of [..., tokens, tokens].
#import common
#import exp
#import reduce
#import seen

fn main(index: i32) {
  let row = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  let first = row * uniforms.tokens;
  let last = row % uniforms.tokens;
  let begin = firstSeen(last);
  var key = 0u;
  for (var k = begin + thread; k <= last; k += THREADS) {
    key = max(key, ordered(scores[first + k]));
  }
  let most = unordered(reduceRange(vec2<u32>(key), thread).y);
  var sum = 0.0;
  for (var k = begin + thread; k <= last; k += THREADS) {
    sum += expNegative((scores[first + k] - most) * uniforms.scale);
  }
  sum = reduceSum(sum, thread);
  if (row < uniforms.rows) {
    for (var k = thread; k < uniforms.tokens; k += THREADS) {
      var share = 0.0;
      if (k >= begin && k <= last) {
        share = expNegative((scores[first + k] - most) * uniforms.scale) / sum;
      }
      result[first + k] = share;
    }
  }
}
