// A row of WIDTH values held by THREADS threads, HELD times four each: of columns that make a word of codes, 8 apart.
alias Held = array<vec4<f32>, HELD>;

// The first column of a thread's word; the others are 8, 16 and 24 further.
fn columnOf(word: u32) -> u32 {
  return (word / 8u) * 32u + word % 8u;
}

fn columnsOf(column: u32) -> vec4<u32> {
  return vec4<u32>(column, column + 8u, column + 16u, column + 24u);
}

// Loads do not hang on conditions, so that none waits for another; past the last column come zeros.
fn loadWord(base: u32, column: u32) -> vec4<f32> {
  let k = columnsOf(column);
  let at = min(k, vec4<u32>(WIDTH - 1u)) + vec4<u32>(base);
  let x = vec4<f32>(floats[at.x], floats[at.y], floats[at.z], floats[at.w]);
  return select(vec4<f32>(0.0), x, k < vec4<u32>(WIDTH));
}

fn storeWord(base: u32, column: u32, x: vec4<f32>) {
  for (var b = 0u; b < 4u; b++) {
    if (column + 8u * b < WIDTH) {
      floats[base + column + 8u * b] = x[b];
    }
  }
}
