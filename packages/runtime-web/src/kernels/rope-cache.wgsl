// Rotary embedding of queries and keys in place, and keys and values into an f32 cache: a thread a pair of dimensions.
#import common

struct Op {
  query: u32,
  queryStride: u32,
  queryHeads: u32,
  key: u32,
  value: u32,
  keyStride: u32,
  keyHeads: u32,
  headSize: u32,
  // Of a cached row, in values; and of the cache in positions.
  size: u32,
  capacity: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(3) var<storage, read> angles: array<f32>;
#import cache-pairs

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let half = op.headSize / 2u;
  // Two neighbouring pairs, so that what is written are whole words.
  let units = half / 2u;
  let head = id.x / units;
  let i = 2u * (id.x % units);
  if (head >= op.queryHeads + 2u * op.keyHeads) {
    return;
  }
  let isQuery = head < op.queryHeads;
  let isValue = head >= op.queryHeads + op.keyHeads;
  let own = select(head - op.queryHeads - select(0u, op.keyHeads, isValue), head, isQuery);
  var at = select(op.key, op.value, isValue) + id.y * op.keyStride + own * op.headSize + i;
  if (isQuery) {
    at = op.query + id.y * op.queryStride + own * op.headSize + i;
  }
  var a = vec2<f32>(floats[at], floats[at + 1u]);
  var b = vec2<f32>(floats[at + half], floats[at + half + 1u]);
  if (!isValue) {
    let angle = id.y * op.headSize + i;
    let cosine = vec2<f32>(angles[angle], angles[angle + 1u]);
    let sine = vec2<f32>(angles[angle + half], angles[angle + half + 1u]);
    let turned = a * cosine - b * sine;
    b = vec2<f32>(keep(a.x * sine.x + b.x * cosine.x), keep(a.y * sine.y + b.y * cosine.y));
    a = vec2<f32>(keep(turned.x), keep(turned.y));
    floats[at] = a.x;
    floats[at + 1u] = a.y;
    floats[at + half] = b.x;
    floats[at + half + 1u] = b.y;
  }
  if (!isQuery) {
    let row = ((select(0u, op.keyHeads, isValue) + own) * op.capacity + run.position + id.y) * op.size;
    storePair(row + i, a);
    storePair(row + half + i, b);
  }
}
