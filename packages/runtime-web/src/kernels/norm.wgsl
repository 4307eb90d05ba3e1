// An RMS norm alone, one workgroup a row.
#import common
#import reduce
#import prologue-norm

struct Op {
  input: u32,
  stride: u32,
  width: u32,
  first: u32,
  epsilon: f32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;

const THREADS: u32 = 256u;
var<private> rowInput: u32;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  rowInput = op.input + group.y * op.stride;
  prologue(group.y, index);
}
