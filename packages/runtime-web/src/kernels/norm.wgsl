// An RMS norm alone, one workgroup a row; to the bit what quantize.wgsl makes of it.
#import common
#import reduce
#import held
#import row-norm

struct Op {
  out: u32,
  stride: u32,
  first: u32,
  epsilon: f32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  fillRow(group.y, op.out + group.y * op.stride, index);
}
