// The rotation of a row of WIDTH values, docs/format.md "Input rotations", and its inverse. A workgroup a row, which it holds.
#import common

var<workgroup> held: array<f32, WIDTH>;

// Rudin-Shapiro: -1 where the digits of k hold "11" an odd number of times.
fn signed(value: f32, k: u32) -> f32 {
  return bitcast<f32>(bitcast<u32>(value) ^ (countOneBits(k & (k >> 1u)) << 31u));
}

// Walsh-Hadamard, of the SPAN values from `first` on; its own inverse.
fn transform(first: u32, thread: u32) {
  for (var half = 1u; half < SPAN; half <<= 1u) {
    for (var pair = thread; pair < SPAN / 2u; pair += THREADS) {
      let i = first + (((pair & ~(half - 1u)) << 1u) | (pair & (half - 1u)));
      let a = held[i];
      let b = held[i + half];
      held[i] = a + b;
      held[i + half] = a - b;
    }
    workgroupBarrier();
  }
  for (var i = thread; i < SPAN; i += THREADS) {
    held[first + i] = keep(held[first + i] * uniforms.scale);
  }
  workgroupBarrier();
}

fn turnSigns(factor: u32, thread: u32) {
  for (var k = thread; k < WIDTH; k += THREADS) {
    held[k] = signed(held[k], factor * k);
  }
  workgroupBarrier();
}

fn main(index: i32) {
  let row = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  for (var k = thread; k < WIDTH; k += THREADS) {
    held[k] = x[row * WIDTH + k];
  }
  workgroupBarrier();
  if (INVERSE == 0u) {
    turnSigns(1u, thread);
    transform(0u, thread);
    if (SPAN < WIDTH) {
      turnSigns(5u, thread);
      transform(WIDTH - SPAN, thread);
    }
  } else {
    if (SPAN < WIDTH) {
      transform(WIDTH - SPAN, thread);
      turnSigns(5u, thread);
    }
    transform(0u, thread);
    turnSigns(1u, thread);
  }
  if (row < uniforms.rows) {
    for (var k = thread; k < WIDTH; k += THREADS) {
      result[row * WIDTH + k] = held[k];
    }
  }
}
