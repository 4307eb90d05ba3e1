// What every kernel knows of the run that it is part of.
struct Run {
  rows: u32,
  position: u32,
  // Rows that logits are computed of, and the first of them.
  logitRows: u32,
  firstLogitRow: u32,
  // 0, which no compiler knows.
  zero: u32,
  // Positions that a workgroup of attention looks at, a multiple of 128.
  share: u32,
  // How many of the largest logits are asked for.
  top: u32,
}
@group(0) @binding(0) var<uniform> run: Run;

// x, rounded: keeps a compiler from fusing the product that x is with the sum it goes into.
fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ run.zero);
}

fn isBroken(bits: u32) -> bool {
  return (bits & 0x7f800000u) == 0x7f800000u;
}
