// What a row gives to the gradient of both clips: where x is beyond an end, g; between them (code - place) / 15 of it to the upper
// end and its negative to the lower one. A workgroup a row.
#import common
#import row-range

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
}
