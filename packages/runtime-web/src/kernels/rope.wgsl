// Rotary embedding in place of one slot or two, a thread a pair. Angles: for each row of the run the cosines, then the sines.
#import common
#import turn

struct Op {
  first: u32,
  firstStride: u32,
  firstHeads: u32,
  second: u32,
  secondStride: u32,
  // Heads of both slots.
  heads: u32,
  headSize: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(3) var<storage, read> angles: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let half = op.headSize / 2u;
  let head = id.x / half;
  let i = id.x % half;
  if (head >= op.heads) {
    return;
  }
  var at = op.first + id.y * op.firstStride + head * op.headSize + i;
  if (head >= op.firstHeads) {
    at = op.second + id.y * op.secondStride + (head - op.firstHeads) * op.headSize + i;
  }
  let cosine = angles[id.y * op.headSize + i];
  let sine = angles[id.y * op.headSize + half + i];
  let a = floats[at];
  let b = floats[at + half];
  floats[at] = turnLower(a, b, cosine, sine);
  floats[at + half] = turnUpper(a, b, cosine, sine);
}
