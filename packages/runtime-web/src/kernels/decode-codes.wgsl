// The values that codes stand for, lo + step * code, each step rounded; a thread a value.
#import common
#import codes-read

struct Op {
  input: u32,
  inputStride: u32,
  out: u32,
  stride: u32,
  width: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(3) var<storage, read> codes: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= op.width) {
    return;
  }
  let at = op.input + id.y * op.inputStride;
  let product = keep(bitcast<f32>(codes[at + 1u]) * f32(codeAt(at + 4u, id.x)));
  floats[op.out + id.y * op.stride + id.x] = bitcast<f32>(codes[at]) + product;
}
