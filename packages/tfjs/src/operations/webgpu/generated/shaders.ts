// Generated from src/operations/webgpu/kernels/*.wgsl by scripts/build-shaders.mjs; do not edit.

/** WGSL by the name of its file. */
export const SHADERS = {
  'adam-moments': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let g = gradient[i] * scale[0];
  let j = i + uniforms.count;
  result[i] = uniforms.keepMean * result[i] + uniforms.addMean * g;
  result[j] = uniforms.keepSquare * result[j] + uniforms.addSquare * g * g;
}`,
  'adam-parameter': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let root = sqrt(moments[i + uniforms.count] * uniforms.unbias) + uniforms.epsilon;
  result[i] -= uniforms.rate * moments[i] / root;
}`,
  'attention-scores': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
var<workgroup> reduced: array<vec2<u32>, THREADS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}
fn firstSeen(position: u32) -> u32 {
  return select(0u, position + 1u - uniforms.span, position + 1u > uniforms.span);
}
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
}`,
  'attention-shares': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn expNegative(x: f32) -> f32 {
  let t = select(x, -87.0, x < -87.0);
  let n = round(t * 1.44269504f);
  let r = fma(n, -1.42860677e-6f, fma(n, -0.693145752f, t));
  var p = 1.9875691500e-4f;
  p = fma(p, r, 1.3981999507e-3f);
  p = fma(p, r, 8.3334519073e-3f);
  p = fma(p, r, 4.1665795894e-2f);
  p = fma(p, r, 1.6666665459e-1f);
  p = fma(p, r, 5.0000001201e-1f);
  p = fma(p * r, r, r) + 1.0;
  let scaled = p * bitcast<f32>(u32(i32(n) + 127) << 23u);
  return select(scaled, 0.0, x < -87.0);
}
var<workgroup> reduced: array<vec2<u32>, THREADS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}
fn firstSeen(position: u32) -> u32 {
  return select(0u, position + 1u - uniforms.span, position + 1u > uniforms.span);
}
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
}`,
  'clip-scale': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
var<workgroup> reduced: array<vec2<u32>, THREADS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}
fn main(index: i32) {
  var sum = 0.0;
  for (var i = u32(index); i < uniforms.count; i += THREADS) {
    sum += parts[i];
  }
  let norm = sqrt(reduceSum(sum, u32(index)));
  if (index == 0) {
    result[0] = select(1.0, uniforms.most / norm, norm > uniforms.most);
  }
}`,
  'column-sums': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
var<workgroup> reduced: array<vec2<u32>, THREADS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}
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
}`,
  'distillation-student': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn expNegative(x: f32) -> f32 {
  let t = select(x, -87.0, x < -87.0);
  let n = round(t * 1.44269504f);
  let r = fma(n, -1.42860677e-6f, fma(n, -0.693145752f, t));
  var p = 1.9875691500e-4f;
  p = fma(p, r, 1.3981999507e-3f);
  p = fma(p, r, 8.3334519073e-3f);
  p = fma(p, r, 4.1665795894e-2f);
  p = fma(p, r, 1.6666665459e-1f);
  p = fma(p, r, 5.0000001201e-1f);
  p = fma(p * r, r, r) + 1.0;
  let scaled = p * bitcast<f32>(u32(i32(n) + 127) << 23u);
  return select(scaled, 0.0, x < -87.0);
}
fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let row = i / uniforms.width;
  let shareT = expNegative(teacher[i] - statistics[5u * row]) / statistics[5u * row + 1u];
  let shareS = expNegative(student[i] - statistics[5u * row + 2u]) / statistics[5u * row + 3u];
  result[i] = (shareS - shareT) * gradient[row];
}`,
  'distillation': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn expNegative(x: f32) -> f32 {
  let t = select(x, -87.0, x < -87.0);
  let n = round(t * 1.44269504f);
  let r = fma(n, -1.42860677e-6f, fma(n, -0.693145752f, t));
  var p = 1.9875691500e-4f;
  p = fma(p, r, 1.3981999507e-3f);
  p = fma(p, r, 8.3334519073e-3f);
  p = fma(p, r, 4.1665795894e-2f);
  p = fma(p, r, 1.6666665459e-1f);
  p = fma(p, r, 5.0000001201e-1f);
  p = fma(p * r, r, r) + 1.0;
  let scaled = p * bitcast<f32>(u32(i32(n) + 127) << 23u);
  return select(scaled, 0.0, x < -87.0);
}
var<workgroup> reduced: array<vec2<u32>, THREADS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}
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
}`,
  'fixed-levels-sums': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn choiceOf(i: u32, first: u32) -> u32 {
  return u32(codes[i]) & 3u;
}
var<workgroup> sums: array<vec4<f32>, THREADS>;
fn main(index: i32) {
  let group = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  let begin = (group % uniforms.groups) * uniforms.groupSize;
  let end = min(uniforms.columns, begin + uniforms.groupSize);
  let row = (group / uniforms.groups) * uniforms.columns;
  var own = vec4<f32>(0.0);
  if (group < uniforms.count) {
    for (var k = begin + thread; k < end; k += THREADS) {
      let choice = choiceOf(row + k, 4u * group);
      own += select(vec4<f32>(0.0), vec4<f32>(gradient[row + k]), vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(choice));
    }
  }
  sums[thread] = own;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (thread < width) {
      sums[thread] += sums[thread + width];
    }
    workgroupBarrier();
  }
  if (thread < 4u && group < uniforms.count) {
    result[4u * group + thread] = sums[0][thread];
  }
}`,
  'fixed-levels': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn choiceOf(i: u32, first: u32) -> u32 {
  return u32(codes[i]) & 3u;
}
fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let group = (i / uniforms.columns) * uniforms.groups + (i % uniforms.columns) / uniforms.groupSize;
  result[i] = levels[4u * group + choiceOf(i, 4u * group)];
}`,
  'nearest-levels-sums': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn distanceOf(value: f32, level: f32) -> vec2<f32> {
  let difference = keep(value - level);
  let subtracted = keep(difference - value);
  let rest = keep(value - keep(difference - subtracted)) - keep(level + subtracted);
  return select(vec2<f32>(difference, rest), vec2<f32>(-difference, -rest), difference < 0.0);
}
fn choiceOf(i: u32, first: u32) -> u32 {
  let value = latent[i];
  var choice = 0u;
  var chosen = levels[first];
  var least = distanceOf(value, chosen);
  for (var c = 1u; c < 4u; c++) {
    let level = levels[first + c];
    let distance = distanceOf(value, level);
    let isTie = distance.x == least.x && distance.y == least.y && level < chosen;
    if (distance.x < least.x || (distance.x == least.x && distance.y < least.y) || isTie) {
      choice = c;
      chosen = level;
      least = distance;
    }
  }
  return choice;
}
var<workgroup> sums: array<vec4<f32>, THREADS>;
fn main(index: i32) {
  let group = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  let begin = (group % uniforms.groups) * uniforms.groupSize;
  let end = min(uniforms.columns, begin + uniforms.groupSize);
  let row = (group / uniforms.groups) * uniforms.columns;
  var own = vec4<f32>(0.0);
  if (group < uniforms.count) {
    for (var k = begin + thread; k < end; k += THREADS) {
      let choice = choiceOf(row + k, 4u * group);
      own += select(vec4<f32>(0.0), vec4<f32>(gradient[row + k]), vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(choice));
    }
  }
  sums[thread] = own;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (thread < width) {
      sums[thread] += sums[thread + width];
    }
    workgroupBarrier();
  }
  if (thread < 4u && group < uniforms.count) {
    result[4u * group + thread] = sums[0][thread];
  }
}`,
  'nearest-levels': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn distanceOf(value: f32, level: f32) -> vec2<f32> {
  let difference = keep(value - level);
  let subtracted = keep(difference - value);
  let rest = keep(value - keep(difference - subtracted)) - keep(level + subtracted);
  return select(vec2<f32>(difference, rest), vec2<f32>(-difference, -rest), difference < 0.0);
}
fn choiceOf(i: u32, first: u32) -> u32 {
  let value = latent[i];
  var choice = 0u;
  var chosen = levels[first];
  var least = distanceOf(value, chosen);
  for (var c = 1u; c < 4u; c++) {
    let level = levels[first + c];
    let distance = distanceOf(value, level);
    let isTie = distance.x == least.x && distance.y == least.y && level < chosen;
    if (distance.x < least.x || (distance.x == least.x && distance.y < least.y) || isTie) {
      choice = c;
      chosen = level;
      least = distance;
    }
  }
  return choice;
}
fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let group = (i / uniforms.columns) * uniforms.groups + (i % uniforms.columns) / uniforms.groupSize;
  result[i] = levels[4u * group + choiceOf(i, 4u * group)];
}`,
  'norm-input': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
var<workgroup> reduced: array<vec2<u32>, THREADS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}
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
}`,
  'norm-scale': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
var<workgroup> reduced: array<vec2<u32>, THREADS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}
fn rowScale(row: u32, thread: u32) -> f32 {
  var sum = 0.0;
  for (var k = thread; k < uniforms.width; k += THREADS) {
    let value = x[row * uniforms.width + k];
    sum += value * value;
  }
  return inverseSqrt(reduceSum(sum, thread) * uniforms.share + uniforms.epsilon);
}
fn main(index: i32) {
  let row = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  let scale = rowScale(row, thread);
  if (thread == 0u && row < uniforms.rows) {
    result[row] = scale;
  }
}`,
  'norm-weight': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
var<workgroup> reduced: array<vec2<u32>, THREADS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}
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
}`,
  'norm': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
var<workgroup> reduced: array<vec2<u32>, THREADS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}
fn rowScale(row: u32, thread: u32) -> f32 {
  var sum = 0.0;
  for (var k = thread; k < uniforms.width; k += THREADS) {
    let value = x[row * uniforms.width + k];
    sum += value * value;
  }
  return inverseSqrt(reduceSum(sum, thread) * uniforms.share + uniforms.epsilon);
}
fn main(index: i32) {
  let row = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  let scale = rowScale(row, thread);
  if (row < uniforms.rows) {
    for (var k = thread; k < uniforms.width; k += THREADS) {
      result[row * uniforms.width + k] = x[row * uniforms.width + k] * scale * weight[k];
    }
  }
}`,
  'quantize-clips': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
var<workgroup> reduced: array<vec2<u32>, THREADS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}
fn divide(a: f32, b: f32) -> f32 {
  let x = split(bitcast<u32>(a));
  let y = split(bitcast<u32>(b));
  if (x.mantissa == 0u) {
    return 0.0;
  }
  var rest = x.mantissa;
  var exponent = x.exponent - y.exponent;
  if (rest < y.mantissa) {
    rest <<= 1u;
    exponent -= 1;
  }
  var quotient = 0u;
  for (var i = 0u; i < 24u; i++) {
    quotient <<= 1u;
    if (rest >= y.mantissa) {
      rest -= y.mantissa;
      quotient |= 1u;
    }
    rest <<= 1u;
  }
  if (exponent >= -126) {
    quotient += select(0u, 1u, rest > y.mantissa || (rest == y.mantissa && (quotient & 1u) == 1u));
    return bitcast<f32>((u32(exponent + 126) << 23u) + quotient);
  }
  let shift = u32(-126 - exponent);
  if (shift > 24u) {
    return 0.0;
  }
  let kept = quotient >> shift;
  let cut = quotient & ((1u << shift) - 1u);
  let half = 1u << (shift - 1u);
  let isMore = cut > half || (cut == half && (rest > 0u || (kept & 1u) == 1u));
  return bitcast<f32>(kept + select(0u, 1u, isMore));
}
struct Parts {
  mantissa: u32,
  exponent: i32,
}
fn split(bits: u32) -> Parts {
  let exponent = i32(bits >> 23u);
  let mantissa = bits & 0x7fffffu;
  if (exponent > 0) {
    return Parts(mantissa | 0x800000u, exponent - 127);
  }
  if (mantissa == 0u) {
    return Parts(0u, -126);
  }
  let shift = countLeadingZeros(mantissa) - 8u;
  return Parts(mantissa << shift, -126 - i32(shift));
}
struct RowRange {
  least: f32,
  most: f32,
  lo: f32,
  hi: f32,
  step: f32,
  isBroken: bool,
}
fn rowRange(row: u32, thread: u32) -> RowRange {
  var keys = vec2<u32>(0xffffffffu, 0u);
  for (var k = thread; k < uniforms.width; k += THREADS) {
    let value = x[row * uniforms.width + k];
    let isNan = (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
    let key = ordered(value);
    keys = vec2<u32>(min(keys.x, key), max(keys.y, select(key, 0xffffffffu, isNan)));
  }
  keys = reduceRange(keys, thread);
  var range: RowRange;
  range.least = unordered(keys.x);
  range.most = unordered(keys.y);
  range.lo = keep(clips[0] * range.least);
  range.hi = keep(clips[1] * range.most);
  let extent = keep(range.hi - range.lo);
  range.isBroken = keys.y == 0xffffffffu || isBroken(extent);
  range.step = 0.0;
  if (!range.isBroken && extent > 0.0) {
    range.step = divide(extent, 15.0);
  }
  return range;
}
fn codeOf(value: f32, range: RowRange) -> f32 {
  let distance = value - range.lo;
  if (!(distance > 0.0) || range.step == 0.0) {
    return 0.0;
  }
  let near = distance / range.step;
  if (near > 15.75) {
    return 15.0;
  }
  let below = floor(near);
  if (abs(near - below - 0.5) > 0x1p-10f) {
    return min(15.0, below + select(0.0, 1.0, near - below > 0.5));
  }
  let exact = divide(distance, range.step);
  let whole = floor(exact);
  let rest = exact - whole;
  let isUp = rest > 0.5 || (rest == 0.5 && (u32(whole) & 1u) == 1u);
  return min(15.0, whole + select(0.0, 1.0, isUp));
}
fn main(index: i32) {
  let row = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  let range = rowRange(row, thread);
  var low = 0.0;
  var high = 0.0;
  for (var k = thread; k < uniforms.width; k += THREADS) {
    let value = x[row * uniforms.width + k];
    let g = gradient[row * uniforms.width + k];
    let isBelow = value < range.lo;
    let isAbove = value > range.hi;
    if (isBelow || (isAbove && range.step == 0.0)) {
      low += g;
    } else if (isAbove) {
      high += g;
    } else if (range.step > 0.0) {
      let place = (value - range.lo) / range.step;
      let rounding = g * (codeOf(value, range) - place) / 15.0;
      high += rounding;
      low -= rounding;
    }
  }
  low = reduceSum(low, thread);
  high = reduceSum(high, thread);
  if (thread == 0u && row < uniforms.rows) {
    var ends = vec2<f32>(low * range.least, high * range.most);
    if (range.isBroken) {
      ends = vec2<f32>(notANumber());
    }
    result[2u * row] = ends.x;
    result[2u * row + 1u] = ends.y;
  }
}`,
  'quantize-input': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
var<workgroup> reduced: array<vec2<u32>, THREADS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}
fn divide(a: f32, b: f32) -> f32 {
  let x = split(bitcast<u32>(a));
  let y = split(bitcast<u32>(b));
  if (x.mantissa == 0u) {
    return 0.0;
  }
  var rest = x.mantissa;
  var exponent = x.exponent - y.exponent;
  if (rest < y.mantissa) {
    rest <<= 1u;
    exponent -= 1;
  }
  var quotient = 0u;
  for (var i = 0u; i < 24u; i++) {
    quotient <<= 1u;
    if (rest >= y.mantissa) {
      rest -= y.mantissa;
      quotient |= 1u;
    }
    rest <<= 1u;
  }
  if (exponent >= -126) {
    quotient += select(0u, 1u, rest > y.mantissa || (rest == y.mantissa && (quotient & 1u) == 1u));
    return bitcast<f32>((u32(exponent + 126) << 23u) + quotient);
  }
  let shift = u32(-126 - exponent);
  if (shift > 24u) {
    return 0.0;
  }
  let kept = quotient >> shift;
  let cut = quotient & ((1u << shift) - 1u);
  let half = 1u << (shift - 1u);
  let isMore = cut > half || (cut == half && (rest > 0u || (kept & 1u) == 1u));
  return bitcast<f32>(kept + select(0u, 1u, isMore));
}
struct Parts {
  mantissa: u32,
  exponent: i32,
}
fn split(bits: u32) -> Parts {
  let exponent = i32(bits >> 23u);
  let mantissa = bits & 0x7fffffu;
  if (exponent > 0) {
    return Parts(mantissa | 0x800000u, exponent - 127);
  }
  if (mantissa == 0u) {
    return Parts(0u, -126);
  }
  let shift = countLeadingZeros(mantissa) - 8u;
  return Parts(mantissa << shift, -126 - i32(shift));
}
struct RowRange {
  least: f32,
  most: f32,
  lo: f32,
  hi: f32,
  step: f32,
  isBroken: bool,
}
fn rowRange(row: u32, thread: u32) -> RowRange {
  var keys = vec2<u32>(0xffffffffu, 0u);
  for (var k = thread; k < uniforms.width; k += THREADS) {
    let value = x[row * uniforms.width + k];
    let isNan = (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
    let key = ordered(value);
    keys = vec2<u32>(min(keys.x, key), max(keys.y, select(key, 0xffffffffu, isNan)));
  }
  keys = reduceRange(keys, thread);
  var range: RowRange;
  range.least = unordered(keys.x);
  range.most = unordered(keys.y);
  range.lo = keep(clips[0] * range.least);
  range.hi = keep(clips[1] * range.most);
  let extent = keep(range.hi - range.lo);
  range.isBroken = keys.y == 0xffffffffu || isBroken(extent);
  range.step = 0.0;
  if (!range.isBroken && extent > 0.0) {
    range.step = divide(extent, 15.0);
  }
  return range;
}
fn codeOf(value: f32, range: RowRange) -> f32 {
  let distance = value - range.lo;
  if (!(distance > 0.0) || range.step == 0.0) {
    return 0.0;
  }
  let near = distance / range.step;
  if (near > 15.75) {
    return 15.0;
  }
  let below = floor(near);
  if (abs(near - below - 0.5) > 0x1p-10f) {
    return min(15.0, below + select(0.0, 1.0, near - below > 0.5));
  }
  let exact = divide(distance, range.step);
  let whole = floor(exact);
  let rest = exact - whole;
  let isUp = rest > 0.5 || (rest == 0.5 && (u32(whole) & 1u) == 1u);
  return min(15.0, whole + select(0.0, 1.0, isUp));
}
fn main(index: i32) {
  let row = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  let range = rowRange(row, thread);
  if (row < uniforms.rows) {
    for (var k = thread; k < uniforms.width; k += THREADS) {
      let at = row * uniforms.width + k;
      var value = notANumber();
      if (!range.isBroken) {
        value = select(gradient[at], 0.0, x[at] < range.lo || x[at] > range.hi);
      }
      result[at] = value;
    }
  }
}`,
  'quantize': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
var<workgroup> reduced: array<vec2<u32>, THREADS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}
fn divide(a: f32, b: f32) -> f32 {
  let x = split(bitcast<u32>(a));
  let y = split(bitcast<u32>(b));
  if (x.mantissa == 0u) {
    return 0.0;
  }
  var rest = x.mantissa;
  var exponent = x.exponent - y.exponent;
  if (rest < y.mantissa) {
    rest <<= 1u;
    exponent -= 1;
  }
  var quotient = 0u;
  for (var i = 0u; i < 24u; i++) {
    quotient <<= 1u;
    if (rest >= y.mantissa) {
      rest -= y.mantissa;
      quotient |= 1u;
    }
    rest <<= 1u;
  }
  if (exponent >= -126) {
    quotient += select(0u, 1u, rest > y.mantissa || (rest == y.mantissa && (quotient & 1u) == 1u));
    return bitcast<f32>((u32(exponent + 126) << 23u) + quotient);
  }
  let shift = u32(-126 - exponent);
  if (shift > 24u) {
    return 0.0;
  }
  let kept = quotient >> shift;
  let cut = quotient & ((1u << shift) - 1u);
  let half = 1u << (shift - 1u);
  let isMore = cut > half || (cut == half && (rest > 0u || (kept & 1u) == 1u));
  return bitcast<f32>(kept + select(0u, 1u, isMore));
}
struct Parts {
  mantissa: u32,
  exponent: i32,
}
fn split(bits: u32) -> Parts {
  let exponent = i32(bits >> 23u);
  let mantissa = bits & 0x7fffffu;
  if (exponent > 0) {
    return Parts(mantissa | 0x800000u, exponent - 127);
  }
  if (mantissa == 0u) {
    return Parts(0u, -126);
  }
  let shift = countLeadingZeros(mantissa) - 8u;
  return Parts(mantissa << shift, -126 - i32(shift));
}
struct RowRange {
  least: f32,
  most: f32,
  lo: f32,
  hi: f32,
  step: f32,
  isBroken: bool,
}
fn rowRange(row: u32, thread: u32) -> RowRange {
  var keys = vec2<u32>(0xffffffffu, 0u);
  for (var k = thread; k < uniforms.width; k += THREADS) {
    let value = x[row * uniforms.width + k];
    let isNan = (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
    let key = ordered(value);
    keys = vec2<u32>(min(keys.x, key), max(keys.y, select(key, 0xffffffffu, isNan)));
  }
  keys = reduceRange(keys, thread);
  var range: RowRange;
  range.least = unordered(keys.x);
  range.most = unordered(keys.y);
  range.lo = keep(clips[0] * range.least);
  range.hi = keep(clips[1] * range.most);
  let extent = keep(range.hi - range.lo);
  range.isBroken = keys.y == 0xffffffffu || isBroken(extent);
  range.step = 0.0;
  if (!range.isBroken && extent > 0.0) {
    range.step = divide(extent, 15.0);
  }
  return range;
}
fn codeOf(value: f32, range: RowRange) -> f32 {
  let distance = value - range.lo;
  if (!(distance > 0.0) || range.step == 0.0) {
    return 0.0;
  }
  let near = distance / range.step;
  if (near > 15.75) {
    return 15.0;
  }
  let below = floor(near);
  if (abs(near - below - 0.5) > 0x1p-10f) {
    return min(15.0, below + select(0.0, 1.0, near - below > 0.5));
  }
  let exact = divide(distance, range.step);
  let whole = floor(exact);
  let rest = exact - whole;
  let isUp = rest > 0.5 || (rest == 0.5 && (u32(whole) & 1u) == 1u);
  return min(15.0, whole + select(0.0, 1.0, isUp));
}
fn main(index: i32) {
  let row = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  let range = rowRange(row, thread);
  if (row < uniforms.rows) {
    for (var k = thread; k < uniforms.width; k += THREADS) {
      let at = row * uniforms.width + k;
      var value = notANumber();
      if (!range.isBroken) {
        value = range.lo + keep(range.step * codeOf(x[at], range));
      }
      result[at] = value;
    }
  }
}`,
  'relaxed-bitmap': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let first = 4u * ((i / uniforms.columns) * uniforms.groups + (i % uniforms.columns) / uniforms.groupSize);
  let isAbove = latent[i] > 0.0;
  let inner = first + select(1u, 2u, isAbove);
  let outer = first + select(0u, 3u, isAbove);
  let u = 2.0 * bitmap[i] - 1.0;
  result[i] = gradient[i] * keep(levels[outer] - levels[inner]) + u * (1.0 - u * u) * uniforms.push;
}`,
  'relaxed-levels-sums': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn choiceOf(i: u32, first: u32) -> u32 {
  let sign = select(0u, 1u, latent[i] > 0.0);
  return select(1u + sign, 3u * sign, bitmap[i] > 0.5);
}
var<workgroup> sums: array<vec4<f32>, THREADS>;
fn main(index: i32) {
  let group = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  let begin = (group % uniforms.groups) * uniforms.groupSize;
  let end = min(uniforms.columns, begin + uniforms.groupSize);
  let row = (group / uniforms.groups) * uniforms.columns;
  var own = vec4<f32>(0.0);
  if (group < uniforms.count) {
    for (var k = begin + thread; k < end; k += THREADS) {
      let choice = choiceOf(row + k, 4u * group);
      own += select(vec4<f32>(0.0), vec4<f32>(gradient[row + k]), vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(choice));
    }
  }
  sums[thread] = own;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (thread < width) {
      sums[thread] += sums[thread + width];
    }
    workgroupBarrier();
  }
  if (thread < 4u && group < uniforms.count) {
    result[4u * group + thread] = sums[0][thread];
  }
}`,
  'relaxed-levels': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn choiceOf(i: u32, first: u32) -> u32 {
  let sign = select(0u, 1u, latent[i] > 0.0);
  return select(1u + sign, 3u * sign, bitmap[i] > 0.5);
}
fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let group = (i / uniforms.columns) * uniforms.groups + (i % uniforms.columns) / uniforms.groupSize;
  result[i] = levels[4u * group + choiceOf(i, 4u * group)];
}`,
  'rope': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn main(index: i32) {
  let pair = u32(index);
  if (pair >= uniforms.count) {
    return;
  }
  let i = pair % uniforms.half;
  let head = pair / uniforms.half;
  let position = (head / uniforms.heads) % uniforms.tokens;
  let c = cosine[position * uniforms.half + i];
  let s = uniforms.sign * sine[position * uniforms.half + i];
  let at = head * 2u * uniforms.half + i;
  let a = x[at];
  let b = x[at + uniforms.half];
  result[at] = a * c - b * s;
  result[at + uniforms.half] = b * c + a * s;
}`,
  'rotate': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
var<workgroup> held: array<f32, WIDTH>;
fn signed(value: f32, k: u32) -> f32 {
  return bitcast<f32>(bitcast<u32>(value) ^ (countOneBits(k & (k >> 1u)) << 31u));
}
fn transform(first: u32, thread: u32) {
  for (var half = 1u; half < SPAN; half <<= 1u) {
    for (var pair = thread; pair < SPAN / 2u; pair += THREADS) {
      let i = first + (((pair & ~(half - 1u)) << 1u) | (pair & (half - 1u)));
      let a = held[i];
      let b = held[i + half];
      held[i] = a + b;
      held[i + half] = a - b;
    }
    workgroupBarrier();
  }
  for (var i = thread; i < SPAN; i += THREADS) {
    held[first + i] = keep(held[first + i] * uniforms.scale);
  }
  workgroupBarrier();
}
fn turnSigns(factor: u32, thread: u32) {
  for (var k = thread; k < WIDTH; k += THREADS) {
    held[k] = signed(held[k], factor * k);
  }
  workgroupBarrier();
}
fn main(index: i32) {
  let row = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  for (var k = thread; k < WIDTH; k += THREADS) {
    held[k] = x[row * WIDTH + k];
  }
  workgroupBarrier();
  if (INVERSE == 0u) {
    turnSigns(1u, thread);
    transform(0u, thread);
    if (SPAN < WIDTH) {
      turnSigns(5u, thread);
      transform(WIDTH - SPAN, thread);
    }
  } else {
    if (SPAN < WIDTH) {
      transform(WIDTH - SPAN, thread);
      turnSigns(5u, thread);
    }
    transform(0u, thread);
    turnSigns(1u, thread);
  }
  if (row < uniforms.rows) {
    for (var k = thread; k < WIDTH; k += THREADS) {
      result[row * WIDTH + k] = held[k];
    }
  }
}`,
  'silu-mul-gate': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn expNegative(x: f32) -> f32 {
  let t = select(x, -87.0, x < -87.0);
  let n = round(t * 1.44269504f);
  let r = fma(n, -1.42860677e-6f, fma(n, -0.693145752f, t));
  var p = 1.9875691500e-4f;
  p = fma(p, r, 1.3981999507e-3f);
  p = fma(p, r, 8.3334519073e-3f);
  p = fma(p, r, 4.1665795894e-2f);
  p = fma(p, r, 1.6666665459e-1f);
  p = fma(p, r, 5.0000001201e-1f);
  p = fma(p * r, r, r) + 1.0;
  let scaled = p * bitcast<f32>(u32(i32(n) + 127) << 23u);
  return select(scaled, 0.0, x < -87.0);
}
fn sigmoid(x: f32) -> f32 {
  let e = expNegative(-abs(x));
  return select(1.0, e, x < 0.0) / (1.0 + e);
}
fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let s = sigmoid(gate[i]);
  result[i] = gradient[i] * up[i] * (s + gate[i] * s * sigmoid(-gate[i]));
}`,
  'silu-mul-up': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn expNegative(x: f32) -> f32 {
  let t = select(x, -87.0, x < -87.0);
  let n = round(t * 1.44269504f);
  let r = fma(n, -1.42860677e-6f, fma(n, -0.693145752f, t));
  var p = 1.9875691500e-4f;
  p = fma(p, r, 1.3981999507e-3f);
  p = fma(p, r, 8.3334519073e-3f);
  p = fma(p, r, 4.1665795894e-2f);
  p = fma(p, r, 1.6666665459e-1f);
  p = fma(p, r, 5.0000001201e-1f);
  p = fma(p * r, r, r) + 1.0;
  let scaled = p * bitcast<f32>(u32(i32(n) + 127) << 23u);
  return select(scaled, 0.0, x < -87.0);
}
fn sigmoid(x: f32) -> f32 {
  let e = expNegative(-abs(x));
  return select(1.0, e, x < 0.0) / (1.0 + e);
}
fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  result[i] = gradient[i] * gate[i] * sigmoid(gate[i]);
}`,
  'silu-mul': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn expNegative(x: f32) -> f32 {
  let t = select(x, -87.0, x < -87.0);
  let n = round(t * 1.44269504f);
  let r = fma(n, -1.42860677e-6f, fma(n, -0.693145752f, t));
  var p = 1.9875691500e-4f;
  p = fma(p, r, 1.3981999507e-3f);
  p = fma(p, r, 8.3334519073e-3f);
  p = fma(p, r, 4.1665795894e-2f);
  p = fma(p, r, 1.6666665459e-1f);
  p = fma(p, r, 5.0000001201e-1f);
  p = fma(p * r, r, r) + 1.0;
  let scaled = p * bitcast<f32>(u32(i32(n) + 127) << 23u);
  return select(scaled, 0.0, x < -87.0);
}
fn sigmoid(x: f32) -> f32 {
  let e = expNegative(-abs(x));
  return select(1.0, e, x < 0.0) / (1.0 + e);
}
fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  result[i] = gate[i] * sigmoid(gate[i]) * up[i];
}`,
  'squares': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
var<workgroup> reduced: array<vec2<u32>, THREADS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}
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
}`,
  'weighted-error-output': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  result[i] = uniforms.factor * gradient[0] * weights[i % uniforms.width] * (output[i] - wanted[i]);
}`,
  'weighted-error': `fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}
fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
var<workgroup> reduced: array<vec2<u32>, THREADS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}
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
}`,
} as const;
