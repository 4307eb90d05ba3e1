// The row is an RMS norm: `first` in floats is what is normed.
@group(0) @binding(4) var<storage, read> normWeight: array<f32>;

fn loadWeights(column: u32) -> vec4<f32> {
  let k = min(columnsOf(column), vec4<u32>(WIDTH - 1u));
  return vec4<f32>(normWeight[k.x], normWeight[k.y], normWeight[k.z], normWeight[k.w]);
}

fn fillRow(row: u32, base: u32, index: u32) -> Held {
  var held = Held();
  // On their way while the squares are summed.
  var weights = Held();
  var squares = 0.0;
  for (var i = 0u; i < HELD; i++) {
    let column = columnOf(index + i * THREADS);
    held[i] = loadWord(op.first + row * op.stride, column);
    weights[i] = loadWeights(column);
    squares += dot(held[i], held[i]);
  }
  let mean = reduceSum(squares, index) / f32(WIDTH);
  let scale = inverseSqrt(mean + op.epsilon);
  for (var i = 0u; i < HELD; i++) {
    held[i] = held[i] * scale * weights[i];
    held[i] = vec4<f32>(keep(held[i].x), keep(held[i].y), keep(held[i].z), keep(held[i].w));
    storeWord(base, columnOf(index + i * THREADS), held[i]);
  }
  return held;
}
