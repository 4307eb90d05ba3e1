// The row is an RMS norm: `first` in floats is what is normed.
@group(0) @binding(4) var<storage, read> normWeight: array<f32>;

fn fillRow(row: u32, base: u32, index: u32) -> Held {
  var held = Held();
  var squares = 0.0;
  for (var i = 0u; i < HELD; i++) {
    held[i] = loadWord(op.first + row * op.stride, columnOf(index + i * THREADS));
    squares += dot(held[i], held[i]);
  }
  let mean = reduceSum(squares, index) / f32(WIDTH);
  let scale = inverseSqrt(mean + op.epsilon);
  for (var i = 0u; i < HELD; i++) {
    let column = columnOf(index + i * THREADS);
    for (var b = 0u; b < 4u; b++) {
      if (column + 8u * b < WIDTH) {
        held[i][b] = keep(held[i][b] * scale * normWeight[column + 8u * b]);
      }
    }
    storeWord(base, column, held[i]);
  }
  return held;
}
