// Causal attention of one query head and row over the cache. A workgroup looks at run.share positions, 128 at a time: a thread a
// score, then a thread a quad of dimensions for some of the positions. What is summed is scaled when a larger score comes.
// Where one workgroup sees all positions it writes the result, else what attend-join.wgsl makes it of.
#import common
#import exp
#import cache-load

struct Op {
  query: u32,
  queryStride: u32,
  out: u32,
  outStride: u32,
  heads: u32,
  queriesPerHead: u32,
  headSize: u32,
  quads: u32,
  capacity: u32,
  // Latest positions that are seen; 0 sees all.
  window: u32,
  scale: f32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
// Of each head and share: quads of sums, then the largest score and the sum of weights.
@group(0) @binding(4) var<storage, read_write> parts: array<vec4<f32>>;

const THREADS: u32 = 128u;
const LOWEST: f32 = -3.4e38;
var<workgroup> queryQuads: array<vec4<f32>, 128>;
var<workgroup> weights: array<f32, THREADS>;
var<workgroup> reduced: array<f32, THREADS>;
var<workgroup> partial: array<vec4<f32>, THREADS>;

fn reduceMax(value: f32, index: u32) -> f32 {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      reduced[index] = max(reduced[index], reduced[index + width]);
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}

fn reduceAdd(value: f32, index: u32) -> f32 {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      reduced[index] += reduced[index + width];
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) counts: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let head = group.x;
  let row = group.y;
  let at = run.position + row;
  let first = select(0u, at + 1u - min(op.window, at + 1u), op.window > 0u) + group.z * run.share;
  let end = min(at + 1u, first + run.share);
  // Rows of the cache.
  let keys = (head / op.queriesPerHead) * op.capacity;
  let values = (op.heads / op.queriesPerHead) * op.capacity + keys;

  for (var quad = index; quad < op.quads; quad += THREADS) {
    var x = vec4<f32>(0.0);
    for (var j = 0u; j < min(4u, op.headSize - quad * 4u); j++) {
      x[j] = floats[op.query + row * op.queryStride + head * op.headSize + quad * 4u + j] * op.scale;
    }
    queryQuads[quad] = x;
  }
  workgroupBarrier();

  // Threads in excess of whole rounds of quads rest.
  let rounds = THREADS / op.quads;
  let quad = index % op.quads;
  let round = index / op.quads;
  var most = LOWEST;
  var total = 0.0;
  var sum = vec4<f32>(0.0);
  for (var start = first; start < end; start += THREADS) {
    let count = min(THREADS, end - start);
    var score = LOWEST;
    if (index < count) {
      var products = vec4<f32>(0.0);
      let key = keys + start + index;
      // Eight loads at a time, so that none waits for another.
      var i = 0u;
      for (; i + 8u <= op.quads; i += 8u) {
        let k0 = load(key, i);
        let k1 = load(key, i + 1u);
        let k2 = load(key, i + 2u);
        let k3 = load(key, i + 3u);
        let k4 = load(key, i + 4u);
        let k5 = load(key, i + 5u);
        let k6 = load(key, i + 6u);
        let k7 = load(key, i + 7u);
        products = fma(queryQuads[i], k0, products);
        products = fma(queryQuads[i + 1u], k1, products);
        products = fma(queryQuads[i + 2u], k2, products);
        products = fma(queryQuads[i + 3u], k3, products);
        products = fma(queryQuads[i + 4u], k4, products);
        products = fma(queryQuads[i + 5u], k5, products);
        products = fma(queryQuads[i + 6u], k6, products);
        products = fma(queryQuads[i + 7u], k7, products);
      }
      for (; i < op.quads; i++) {
        products = fma(queryQuads[i], load(key, i), products);
      }
      score = products.x + products.y + products.z + products.w;
    }
    let larger = max(most, reduceMax(score, index));
    let factor = expNegative(most - larger);
    let weight = select(0.0, expNegative(score - larger), index < count);
    weights[index] = weight;
    // Waits for all weights, too.
    total = total * factor + reduceAdd(weight, index);
    most = larger;
    sum *= factor;
    if (round < rounds) {
      let value = values + start;
      var i = round;
      for (; i + 7u * rounds < count; i += 8u * rounds) {
        let v = value + i;
        let v0 = load(v, quad);
        let v1 = load(v + rounds, quad);
        let v2 = load(v + 2u * rounds, quad);
        let v3 = load(v + 3u * rounds, quad);
        let v4 = load(v + 4u * rounds, quad);
        let v5 = load(v + 5u * rounds, quad);
        let v6 = load(v + 6u * rounds, quad);
        let v7 = load(v + 7u * rounds, quad);
        sum = fma(vec4<f32>(weights[i]), v0, sum);
        sum = fma(vec4<f32>(weights[i + rounds]), v1, sum);
        sum = fma(vec4<f32>(weights[i + 2u * rounds]), v2, sum);
        sum = fma(vec4<f32>(weights[i + 3u * rounds]), v3, sum);
        sum = fma(vec4<f32>(weights[i + 4u * rounds]), v4, sum);
        sum = fma(vec4<f32>(weights[i + 5u * rounds]), v5, sum);
        sum = fma(vec4<f32>(weights[i + 6u * rounds]), v6, sum);
        sum = fma(vec4<f32>(weights[i + 7u * rounds]), v7, sum);
      }
      for (; i < count; i += rounds) {
        sum = fma(vec4<f32>(weights[i]), load(value + i, quad), sum);
      }
    }
    workgroupBarrier();
  }
  partial[index] = sum;
  workgroupBarrier();
  if (index >= op.quads) {
    return;
  }
  for (var other = 1u; other < rounds; other++) {
    sum += partial[index + other * op.quads];
  }
  if (counts.z > 1u) {
    let part = (head * counts.z + group.z) * (op.quads + 1u);
    parts[part + quad] = sum;
    if (quad == 0u) {
      parts[part + op.quads] = vec4<f32>(most, total, 0.0, 0.0);
    }
    return;
  }
  sum = sum / total;
  let out = op.out + row * op.outStride + head * op.headSize + quad * 4u;
  for (var j = 0u; j < min(4u, op.headSize - quad * 4u); j++) {
    floats[out + j] = sum[j];
  }
}
