// The row is there already.
fn fillRow(row: u32, base: u32, index: u32) -> Held {
  var held = Held();
  for (var i = 0u; i < HELD; i++) {
    held[i] = loadWord(base, columnOf(index + i * THREADS));
  }
  return held;
}
