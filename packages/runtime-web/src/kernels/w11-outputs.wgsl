// Where the results of W(1+1) products go: up to three matrices of one input are run as one, and a result may be added to a slot.
struct Op {
  rows: u32,
  // Of 128 columns, in a row.
  chunks: u32,
  groups: u32,
  // In words of 16 bytes: where the slot's codes begin, and a row of them; where the bitmap's bits begin.
  codes: u32,
  codesStride: u32,
  bitmap: u32,
  // Rows from `endFirst` on are the second matrix, from `endSecond` on the third. Places in floats.
  endFirst: u32,
  endSecond: u32,
  outFirst: u32,
  outSecond: u32,
  outThird: u32,
  strideFirst: u32,
  strideSecond: u32,
  strideThird: u32,
  // Slot that the first matrix's result is added to; 0xffffffff for none. It is as wide as the result.
  sum: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;

fn writeOut(token: u32, row: u32, value: f32) {
  if (row < op.endFirst) {
    let at = token * op.strideFirst + row;
    floats[op.outFirst + at] = value;
    if (op.sum != 0xffffffffu) {
      floats[op.sum + at] += value;
    }
  } else if (row < op.endSecond) {
    floats[op.outSecond + token * op.strideSecond + row - op.endFirst] = value;
  } else {
    floats[op.outThird + token * op.strideThird + row - op.endSecond] = value;
  }
}
