// The row is gate * sigmoid(gate) * up: `first` in floats is the gate, `second` is up.
#import silu

fn fillRow(row: u32, base: u32, index: u32) -> Held {
  var held = Held();
  let offset = row * op.stride;
  for (var i = 0u; i < HELD; i++) {
    let column = columnOf(index + i * THREADS);
    let gate = loadWord(op.first + offset, column);
    let up = loadWord(op.second + offset, column);
    held[i] = vec4<f32>(gated(gate.x, up.x), gated(gate.y, up.y), gated(gate.z, up.z), gated(gate.w, up.w));
    storeWord(base, column, held[i]);
  }
  return held;
}
