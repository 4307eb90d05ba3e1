// Outlier columns: a row with 0 in them, and their values. The table has a bit for each column of the row, then the columns.
#import common

struct Op {
  input: u32,
  kept: u32,
  stride: u32,
  width: u32,
  taken: u32,
  takenStride: u32,
  count: u32,
  table: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(3) var<storage, read> tables: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let k = id.x;
  let base = op.input + id.y * op.stride;
  if (k < op.width) {
    let isTaken = ((tables[op.table + k / 32u] >> (k % 32u)) & 1u) == 1u;
    floats[op.kept + id.y * op.stride + k] = select(floats[base + k], 0.0, isTaken);
  }
  if (k < op.count) {
    let column = tables[op.table + (op.width + 31u) / 32u + k];
    floats[op.taken + id.y * op.takenStride + k] = floats[base + column];
  }
}
