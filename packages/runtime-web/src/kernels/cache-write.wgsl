// Writes keys and values of a run into the cache, a thread a quad of dimensions. The cache is [key or value][kv head][position]
// of `quads` quads.
#import common
#import cache-store

struct Op {
  key: u32,
  value: u32,
  stride: u32,
  heads: u32,
  headSize: u32,
  quads: u32,
  capacity: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let quad = id.x % op.quads;
  let head = (id.x / op.quads) % op.heads;
  let isValue = id.x / (op.quads * op.heads);
  if (isValue > 1u) {
    return;
  }
  let base = select(op.key, op.value, isValue == 1u) + id.y * op.stride + head * op.headSize + quad * 4u;
  var x = vec4<f32>(0.0);
  for (var j = 0u; j < min(4u, op.headSize - quad * 4u); j++) {
    x[j] = floats[base + j];
  }
  let row = (isValue * op.heads + head) * op.capacity + run.position + id.y;
  store(row * op.quads + quad, x);
}
