// The row is an RMS norm: `first` in floats is what is normed.
@group(0) @binding(4) var<storage, read> normWeight: array<f32>;

fn prologue(row: u32, index: u32) {
  let base = op.first + row * op.stride;
  var squares = 0.0;
  for (var k = index; k < op.width; k += THREADS) {
    let x = floats[base + k];
    squares = fma(x, x, squares);
  }
  let mean = reduceSum(squares, index) / f32(op.width);
  let scale = inverseSqrt(mean + op.epsilon);
  for (var k = index; k < op.width; k += THREADS) {
    floats[rowInput + k] = floats[base + k] * scale * normWeight[k];
  }
  storageBarrier();
  workgroupBarrier();
}
