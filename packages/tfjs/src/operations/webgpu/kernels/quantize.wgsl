// The values that the 4-bit codes of a row stand for, a workgroup a row.
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
        value = range.lo + keep(range.step * codeOf(x[at], range));
      }
      result[at] = value;
    }
  }
}
