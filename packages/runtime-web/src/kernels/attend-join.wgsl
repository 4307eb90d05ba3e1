// Puts together what workgroups of attention made of their shares of positions, for one row; one workgroup a head.
#import common
#import exp

struct Op {
  out: u32,
  headSize: u32,
  quads: u32,
  window: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(4) var<storage, read> parts: array<vec4<f32>>;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let head = group.x;
  let seen = select(run.position + 1u, min(op.window, run.position + 1u), op.window > 0u);
  let shares = (seen + run.share - 1u) / run.share;
  let size = op.quads + 1u;
  let first = head * shares * size;
  var most = parts[first + op.quads].x;
  for (var i = 1u; i < shares; i++) {
    most = max(most, parts[first + i * size + op.quads].x);
  }
  for (var quad = index; quad < op.quads; quad += 32u) {
    var total = 0.0;
    var sum = vec4<f32>(0.0);
    for (var i = 0u; i < shares; i++) {
      let part = first + i * size;
      let state = parts[part + op.quads];
      let factor = expNegative(state.x - most);
      total = fma(state.y, factor, total);
      sum = fma(parts[part + quad], vec4<f32>(factor), sum);
    }
    sum = sum / total;
    let out = op.out + head * op.headSize + quad * 4u;
    for (var j = 0u; j < min(4u, op.headSize - quad * 4u); j++) {
      floats[out + j] = sum[j];
    }
  }
}
