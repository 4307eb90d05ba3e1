// The row is gate * sigmoid(gate) * up: `first` in floats is the gate, `second` is up.
#import silu

fn prologue(row: u32, index: u32) {
  let offset = row * op.stride;
  for (var k = index; k < op.width; k += THREADS) {
    floats[rowInput + k] = gated(floats[op.first + offset + k], floats[op.second + offset + k]);
  }
  storageBarrier();
  workgroupBarrier();
}
