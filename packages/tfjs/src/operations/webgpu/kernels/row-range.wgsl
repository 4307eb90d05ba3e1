#import reduce
#import divide

struct RowRange {
  least: f32,
  most: f32,
  lo: f32,
  hi: f32,
  // 0 for a row without range, even one whose ends have crossed.
  step: f32,
  // With a value in it that is infinite or not a number.
  isBroken: bool,
}

// What the codes of a row span, by all threads of a workgroup; rounded as docs/numerics.md "Activations" says.
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

// (x - lo) / step rounded to f32 and then to an integer, ties to even, within 0 and 15.
fn codeOf(value: f32, range: RowRange) -> f32 {
  let distance = value - range.lo;
  if (!(distance > 0.0) || range.step == 0.0) {
    return 0.0;
  }
  let near = distance / range.step;
  if (near > 15.75) {
    return 15.0;
  }
  // An approximate quotient tells the code unless it is close to a tie.
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
