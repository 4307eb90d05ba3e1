// The rotation of a row, docs/format.md "Input rotations", in workgroup memory; the bits are those of rotate.wgsl.
#import rotation-signs
var<workgroup> tile: array<f32, BLOCKS * 32u>;
#import rotation-passes

// Writes the rotated row at `base`, too.
fn rotateRow(held: Held, base: u32, index: u32) -> Held {
  for (var i = 0u; i < HELD; i++) {
    let column = columnOf(index + i * THREADS);
    for (var b = 0u; b < 4u; b++) {
      let k = column + 8u * b;
      if (k < WIDTH) {
        tile[placeOf(k)] = signed(held[i][b], k);
      }
    }
  }
  workgroupBarrier();
  transformTile(0u, op.span, index);
  if (op.span < WIDTH) {
    for (var k = index; k < WIDTH; k += THREADS) {
      let x = tile[placeOf(k)];
      tile[placeOf(k)] = signed(select(x, keep(x * op.scale), k < op.span), 5u * k);
    }
    workgroupBarrier();
    transformTile(WIDTH - op.span, op.span, index);
  }
  var rotated = Held();
  for (var i = 0u; i < HELD; i++) {
    let column = columnOf(index + i * THREADS);
    for (var b = 0u; b < 4u; b++) {
      let k = column + 8u * b;
      if (k < WIDTH) {
        let x = tile[placeOf(k)];
        rotated[i][b] = select(x, keep(x * op.scale), k >= WIDTH - op.span);
      }
    }
    storeWord(base, column, rotated[i]);
  }
  return rotated;
}
