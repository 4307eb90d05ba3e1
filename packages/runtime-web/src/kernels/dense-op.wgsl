// Products with dense and integer weights: what they have in common.
struct Op {
  rows: u32,
  // Of 16 bytes, in a row of weights.
  chunks: u32,
  groups: u32,
  groupSize: u32,
  // Of a row of the input, in words of 16 bytes, and of the result, in floats.
  inputStride: u32,
  outStride: u32,
  // 1: the run's rows are those that logits are asked of, which begin at run.firstLogitRow.
  isLogits: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> inputs: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> outs: array<f32>;
@group(0) @binding(4) var<storage, read> weights: array<vec4<u32>>;

fn inputRow(token: u32) -> u32 {
  return (token + op.isLogits * run.firstLogitRow) * op.inputStride;
}

fn tokenCount() -> u32 {
  return select(run.rows, run.logitRows, op.isLogits == 1u);
}
