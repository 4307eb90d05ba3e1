// The rotation of a row, docs/format.md "Input rotations", in workgroup memory; the bits are those of rotate.wgsl.
#import rotation-signs
var<workgroup> tile: array<f32, WIDTH>;

// Of the op.span values from `first` on.
fn transformTile(first: u32, index: u32) {
  workgroupBarrier();
  for (var half = 1u; half < op.span; half <<= 1u) {
    for (var pair = index; pair < op.span / 2u; pair += THREADS) {
      let i = first + lowerPlace(pair, half);
      let a = tile[i];
      let b = tile[i + half];
      tile[i] = a + b;
      tile[i + half] = a - b;
    }
    workgroupBarrier();
  }
  for (var i = first + index; i < first + op.span; i += THREADS) {
    tile[i] = keep(tile[i] * op.scale);
  }
  workgroupBarrier();
}

// Writes the rotated row at `base`, too.
fn rotateRow(held: Held, base: u32, index: u32) -> Held {
  for (var i = 0u; i < HELD; i++) {
    let column = columnOf(index + i * THREADS);
    for (var b = 0u; b < 4u; b++) {
      let k = column + 8u * b;
      if (k < WIDTH) {
        tile[k] = signed(held[i][b], k);
      }
    }
  }
  transformTile(0u, index);
  if (op.span < WIDTH) {
    for (var k = index; k < WIDTH; k += THREADS) {
      tile[k] = signed(tile[k], 5u * k);
    }
    transformTile(WIDTH - op.span, index);
  }
  var rotated = Held();
  for (var i = 0u; i < HELD; i++) {
    let column = columnOf(index + i * THREADS);
    for (var b = 0u; b < 4u; b++) {
      if (column + 8u * b < WIDTH) {
        rotated[i][b] = tile[column + 8u * b];
      }
    }
    storeWord(base, column, rotated[i]);
  }
  return rotated;
}
