// The gradient of what is quantized: straight through between the ends, 0 beyond. A workgroup a row.
#import common
#import row-range

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
}
