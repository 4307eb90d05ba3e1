// Writes keys and values of a run into the cache: a workgroup a head of either, a thread a quad of dimensions. The cache is
// [key or value][kv head][position] of rows as cache-store-*.wgsl write them.
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

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) quad: u32) {
  let isValue = group.x >= op.heads;
  let head = group.x % op.heads;
  let base = select(op.key, op.value, isValue) + group.y * op.stride + head * op.headSize;
  var x = vec4<f32>(0.0);
  if (quad < op.quads) {
    for (var j = 0u; j < min(4u, op.headSize - quad * 4u); j++) {
      x[j] = floats[base + quad * 4u + j];
    }
  }
  store(group.x * op.capacity + run.position + group.y, quad, x);
}
