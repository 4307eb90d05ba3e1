// A row of WIDTH values held by THREADS threads, HELD times four each: of columns that make a word of codes, 8 apart.
alias Held = array<vec4<f32>, HELD>;

// The first column of a thread's word; the others are 8, 16 and 24 further.
fn columnOf(word: u32) -> u32 {
  return (word / 8u) * 32u + word % 8u;
}

fn loadWord(base: u32, column: u32) -> vec4<f32> {
  var x = vec4<f32>(0.0);
  for (var b = 0u; b < 4u; b++) {
    if (column + 8u * b < WIDTH) {
      x[b] = floats[base + column + 8u * b];
    }
  }
  return x;
}

fn storeWord(base: u32, column: u32, x: vec4<f32>) {
  for (var b = 0u; b < 4u; b++) {
    if (column + 8u * b < WIDTH) {
      floats[base + column + 8u * b] = x[b];
    }
  }
}
