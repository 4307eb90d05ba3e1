// Rotary embedding of queries and keys in place, and keys and values into the cache: a workgroup a head, a thread a quad of
// dimensions.
#import common
#import turn
#import cache-store

struct Op {
  query: u32,
  queryStride: u32,
  queryHeads: u32,
  key: u32,
  value: u32,
  keyStride: u32,
  keyHeads: u32,
  headSize: u32,
  quads: u32,
  capacity: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(3) var<storage, read> angles: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) quad: u32) {
  let isQuery = group.x < op.queryHeads;
  let isValue = group.x >= op.queryHeads + op.keyHeads;
  let head = select(group.x - op.queryHeads - select(0u, op.keyHeads, isValue), group.x, isQuery);
  var base = select(op.key, op.value, isValue) + group.y * op.keyStride + head * op.headSize;
  if (isQuery) {
    base = op.query + group.y * op.queryStride + head * op.headSize;
  }
  let isUsed = quad < op.quads;
  let at = base + 4u * quad;
  var x = vec4<f32>(0.0);
  if (isUsed) {
    x = vec4<f32>(floats[at], floats[at + 1u], floats[at + 2u], floats[at + 3u]);
  }
  if (!isValue) {
    let half = op.headSize / 2u;
    if (isUsed) {
      for (var j = 0u; j < 4u; j++) {
        let d = 4u * quad + j;
        let isLower = d < half;
        let i = select(d - half, d, isLower);
        let angle = group.y * op.headSize + i;
        let cosine = angles[angle];
        let sine = angles[angle + half];
        let other = floats[base + select(i, i + half, isLower)];
        x[j] = select(turnUpper(other, x[j], cosine, sine), turnLower(x[j], other, cosine, sine), isLower);
      }
    }
    // Every thread has read the other half of its pairs.
    storageBarrier();
    if (isUsed) {
      for (var j = 0u; j < 4u; j++) {
        floats[at + j] = x[j];
      }
    }
  }
  if (!isQuery) {
    store((select(0u, op.keyHeads, isValue) + head) * op.capacity + run.position + group.y, quad, x);
  }
}
