// What kernels share. TensorFlow.js declares around each: `result`, which it writes; its inputs by their names, flat; `uniforms`,
// with `zero`, a 0 that no compiler knows of; and it calls `main` with the place of the thread among all of them.

// x, rounded: keeps a compiler from fusing a product with the sum it goes into, and from reordering sums.
fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ uniforms.zero);
}

// Compilers may take it that nothing is infinite or not a number, so bits tell.
fn isBroken(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}

fn notANumber() -> f32 {
  return bitcast<f32>(0x7fc00000u | uniforms.zero);
}

// f32 in the order of unsigned integers.
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
