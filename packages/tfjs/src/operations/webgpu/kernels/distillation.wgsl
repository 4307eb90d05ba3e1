// Of each row, a workgroup each: the largest logit of the teacher and the sum of exponentials about it; both of the student; and
// KL(softmax(teacher) || softmax(student)).
#import common
#import exp
#import reduce

fn main(index: i32) {
  let row = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  let first = row * uniforms.width;
  var keys = vec2<u32>(0u);
  for (var k = thread; k < uniforms.width; k += THREADS) {
    keys = max(keys, vec2<u32>(ordered(teacher[first + k]), ordered(student[first + k])));
  }
  let mostT = unordered(reduceRange(vec2<u32>(keys.x), thread).y);
  let mostS = unordered(reduceRange(vec2<u32>(keys.y), thread).y);
  var sumT = 0.0;
  var sumS = 0.0;
  var apart = 0.0;
  for (var k = thread; k < uniforms.width; k += THREADS) {
    let t = teacher[first + k] - mostT;
    let s = student[first + k] - mostS;
    let e = expNegative(t);
    sumT += e;
    sumS += expNegative(s);
    apart += e * (t - s);
  }
  sumT = reduceSum(sumT, thread);
  sumS = reduceSum(sumS, thread);
  apart = reduceSum(apart, thread);
  if (thread == 0u && row < uniforms.rows) {
    result[5u * row] = mostT;
    result[5u * row + 1u] = sumT;
    result[5u * row + 2u] = mostS;
    result[5u * row + 3u] = sumS;
    result[5u * row + 4u] = apart / sumT - (log(sumT) - log(sumS));
  }
}
