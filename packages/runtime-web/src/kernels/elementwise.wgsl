// out = what `element` makes of two slots of equal width, a thread a value.
#import common
#import element

struct Op {
  first: u32,
  second: u32,
  out: u32,
  stride: u32,
  width: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= op.width) {
    return;
  }
  let at = id.y * op.stride + id.x;
  floats[op.out + at] = element(floats[op.first + at], floats[op.second + at]);
}
