// Generated from src/kernels/*.wgsl by scripts/build-shaders.mjs; do not edit.

/** WGSL by the name of its file. */
export const SHADERS: Readonly<Record<string, string>> = {
  'argmax': `#import common
#import logit-key
struct Op {
  logits: u32,
  width: u32,
  part: u32,
  candidates: u32,
  count: u32,
  result: u32,
  next: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(3) var<storage, read_write> codes: array<u32>;
const THREADS: u32 = 256u;
var<workgroup> best: array<vec2<u32>, THREADS>;
fn better(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return select(b, a, a.x > b.x || (a.x == b.x && a.y <= b.y));
}
fn reduceBest(own: vec2<u32>, index: u32) -> vec2<u32> {
  best[index] = own;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      best[index] = better(best[index], best[index + width]);
    }
    workgroupBarrier();
  }
  return best[0];
}
@compute @workgroup_size(256)
fn first(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  var own = vec2<u32>(0u, 0xffffffffu);
  let start = group.x * op.part;
  for (var k = start + index; k < min(start + op.part, op.width); k += THREADS) {
    own = better(own, vec2<u32>(keyOf(floats[op.logits + k]), k));
  }
  own = reduceBest(own, index);
  if (index == 0u) {
    codes[op.candidates + 2u * group.x] = own.x;
    codes[op.candidates + 2u * group.x + 1u] = own.y;
  }
}
@compute @workgroup_size(256)
fn second(@builtin(local_invocation_index) index: u32) {
  var own = vec2<u32>(0u, 0xffffffffu);
  for (var i = index; i < op.count; i += THREADS) {
    own = better(own, vec2<u32>(codes[op.candidates + 2u * i], codes[op.candidates + 2u * i + 1u]));
  }
  own = reduceBest(own, index);
  if (index == 0u) {
    codes[op.result] = own.x;
    codes[op.result + 1u] = own.y;
    if (op.next != 0xffffffffu) {
      codes[op.next] = own.y;
    }
  }
}`,
  'attend-join': `#import common
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
}`,
  'attend': `#import common
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
  window: u32,
  scale: f32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
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
}`,
  'cache-codes': `#import round-half
#import halves
#import divide
#import nearest-code
@group(0) @binding(4) var<storage, read_write> cache: array<u32>;
const BROKEN: f32 = 1e30;
var<workgroup> ranges: array<vec2<f32>, THREADS>;
fn groupCount() -> u32 {
  return (op.quads + 7u) / 8u;
}
fn encodeQuad(base: u32, quad: u32, x: vec4<f32>) -> vec4<u32> {
  let size = select(0u, min(4u, op.headSize - quad * 4u), quad < op.quads);
  let limited = clamp(x, vec4<f32>(-65504.0), vec4<f32>(65504.0));
  var range = vec2<f32>(BROKEN, -BROKEN);
  for (var j = 0u; j < size; j++) {
    let value = select(limited[j], BROKEN, isBroken(bitcast<u32>(x[j])));
    range = vec2<f32>(min(range.x, value), max(range.y, value));
  }
  ranges[quad] = range;
  workgroupBarrier();
  let first = quad - quad % 8u;
  for (var i = 0u; i < 8u; i++) {
    let other = ranges[first + i];
    range = vec2<f32>(min(range.x, other.x), max(range.y, other.y));
  }
  var lowest = roundHalf(range.x);
  let offset = halfOf(lowest);
  let extent = range.y - offset;
  var step = 0u;
  if (extent > 0.0) {
    step = roundHalf(divide(extent, f32(LEVELS)));
  }
  let isWhole = range.y < BROKEN;
  if (quad % 8u == 0u && size > 0u) {
    cache[base + quad / 8u] = select(0x7e007e00u, lowest | (step << 16u), isWhole);
  }
  var codes = vec4<u32>(0u);
  if (isWhole && step > 0u) {
    for (var j = 0u; j < size; j++) {
      codes[j] = nearestCode(limited[j] - offset, halfOf(step), LEVELS);
    }
  }
  return codes;
}`,
  'cache-load-f16': `#import halves
@group(0) @binding(3) var<storage, read> cache: array<vec2<u32>>;
fn load(row: u32, quad: u32) -> vec4<f32> {
  let words = cache[row * op.quads + quad];
  return vec4<f32>(unpackAnyHalves(words.x), unpackAnyHalves(words.y));
}`,
  'cache-load-f32': `@group(0) @binding(3) var<storage, read> cache: array<vec4<f32>>;
fn load(row: u32, quad: u32) -> vec4<f32> {
  return cache[row * op.quads + quad];
}`,
  'cache-load-int4': `#import halves
@group(0) @binding(3) var<storage, read> cache: array<u32>;
fn load(row: u32, quad: u32) -> vec4<f32> {
  let groups = (op.quads + 7u) / 8u;
  let base = row * (groups + (op.quads + 1u) / 2u);
  let scale = unpackAnyHalves(cache[base + quad / 8u]);
  let word = cache[base + groups + quad / 2u] >> (16u * (quad % 2u));
  let codes = (vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
  return fma(vec4<f32>(scale.y), bitcast<vec4<f32>>(codes | vec4<u32>(0x4b000000u)) - 8388608.0, vec4<f32>(scale.x));
}`,
  'cache-load-int8': `#import halves
@group(0) @binding(3) var<storage, read> cache: array<u32>;
fn load(row: u32, quad: u32) -> vec4<f32> {
  let groups = (op.quads + 7u) / 8u;
  let base = row * (groups + op.quads);
  let scale = unpackAnyHalves(cache[base + quad / 8u]);
  let codes = (vec4<u32>(cache[base + groups + quad]) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
  return fma(vec4<f32>(scale.y), bitcast<vec4<f32>>(codes | vec4<u32>(0x4b000000u)) - 8388608.0, vec4<f32>(scale.x));
}`,
  'cache-store-f16': `#import round-half
@group(0) @binding(4) var<storage, read_write> cache: array<vec2<u32>>;
fn store(row: u32, quad: u32, x: vec4<f32>) {
  if (quad < op.quads) {
    let halves = vec4<u32>(roundHalf(x.x), roundHalf(x.y), roundHalf(x.z), roundHalf(x.w));
    cache[row * op.quads + quad] = halves.xz | (halves.yw << vec2<u32>(16u));
  }
}`,
  'cache-store-f32': `@group(0) @binding(4) var<storage, read_write> cache: array<vec4<f32>>;
fn store(row: u32, quad: u32, x: vec4<f32>) {
  if (quad < op.quads) {
    cache[row * op.quads + quad] = x;
  }
}`,
  'cache-store-int4': `const LEVELS: u32 = 15u;
#import cache-codes
var<workgroup> quarters: array<u32, THREADS>;
fn store(row: u32, quad: u32, x: vec4<f32>) {
  let base = row * (groupCount() + (op.quads + 1u) / 2u);
  let codes = encodeQuad(base, quad, x);
  quarters[quad] = codes.x | (codes.y << 4u) | (codes.z << 8u) | (codes.w << 12u);
  workgroupBarrier();
  if (quad < op.quads && quad % 2u == 0u) {
    cache[base + groupCount() + quad / 2u] = quarters[quad] | (quarters[quad + 1u] << 16u);
  }
}`,
  'cache-store-int8': `const LEVELS: u32 = 255u;
#import cache-codes
fn store(row: u32, quad: u32, x: vec4<f32>) {
  let base = row * (groupCount() + op.quads);
  let codes = encodeQuad(base, quad, x);
  if (quad < op.quads) {
    cache[base + groupCount() + quad] = codes.x | (codes.y << 8u) | (codes.z << 16u) | (codes.w << 24u);
  }
}`,
  'cache-write': `#import common
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
}`,
  'codes-bits': `var<workgroup> blockPlanes: array<atomic<u32>, 4u * BLOCKS>;
fn clearBlocks(index: u32) {
  for (var i = index; i < 4u * BLOCKS; i += THREADS) {
    atomicStore(&blockPlanes[i], 0u);
  }
  workgroupBarrier();
}
fn writeWord(at: u32, word: u32, code: vec4<u32>) {
  for (var j = 0u; j < 4u; j++) {
    let bits = (code >> vec4<u32>(j)) & vec4<u32>(1u);
    let plane = bits.x | (bits.y << 8u) | (bits.z << 16u) | (bits.w << 24u);
    atomicOr(&blockPlanes[4u * (word / 8u) + j], plane << (word % 8u));
  }
}
fn finishBlock(at: u32, block: u32) {
  var sum = 0u;
  for (var j = 0u; j < 4u; j++) {
    let plane = atomicLoad(&blockPlanes[4u * block + j]);
    codes[at + 4u * block + j] = plane;
    sum += countOneBits(plane) << j;
  }
  codes[at + BLOCKS * 4u + block] = sum;
}`,
  'codes-dot': `var<workgroup> blockSums: array<atomic<u32>, BLOCKS>;
fn clearBlocks(index: u32) {
  for (var block = index; block < BLOCKS; block += THREADS) {
    atomicStore(&blockSums[block], 0u);
  }
  workgroupBarrier();
}
fn writeWord(at: u32, word: u32, code: vec4<u32>) {
  let bytes = code.x | (code.y << 8u) | (code.z << 16u) | (code.w << 24u);
  codes[at + word] = bytes << (3u - word % 4u);
  atomicAdd(&blockSums[word / 8u], code.x + code.y + code.z + code.w);
}
fn finishBlock(at: u32, block: u32) {
  codes[at + BLOCKS * 8u + block] = atomicLoad(&blockSums[block]);
}`,
  'codes-read-bits': `fn codeAt(at: u32, column: u32) -> u32 {
  let word = at + (column / 32u) * 4u;
  let c = column % 32u;
  var code = 0u;
  for (var j = 0u; j < 4u; j++) {
    code |= ((codes[word + j] >> c) & 1u) << j;
  }
  return code;
}`,
  'codes-read-dot': `fn codeAt(at: u32, column: u32) -> u32 {
  let c = column % 32u;
  let i = c % 8u;
  return (codes[at + (column / 32u) * 8u + i] >> ((c / 8u) * 8u + 3u - i % 4u)) & 15u;
}`,
  'common': `struct Run {
  rows: u32,
  position: u32,
  logitRows: u32,
  firstLogitRow: u32,
  zero: u32,
  share: u32,
  top: u32,
}
@group(0) @binding(0) var<uniform> run: Run;
fn keep(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ run.zero);
}
fn isBroken(bits: u32) -> bool {
  return (bits & 0x7f800000u) == 0x7f800000u;
}`,
  'decode-codes': `#import common
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
}`,
  'dense-bf16': `const COLUMNS: u32 = 8u;
const QUADS: u32 = 2u;
fn weightQuad(word: vec4<u32>, quad: u32) -> vec4<f32> {
  let low = word[2u * quad];
  let high = word[2u * quad + 1u];
  return bitcast<vec4<f32>>(vec4<u32>(low << 16u, low & 0xffff0000u, high << 16u, high & 0xffff0000u));
}
fn scaleOf(row: u32, chunk: u32) -> f32 {
  return 1.0;
}`,
  'dense-f16': `#import halves
const COLUMNS: u32 = 8u;
const QUADS: u32 = 2u;
fn weightQuad(word: vec4<u32>, quad: u32) -> vec4<f32> {
  return vec4<f32>(unpackHalves(word[2u * quad]), unpackHalves(word[2u * quad + 1u]));
}
fn scaleOf(row: u32, chunk: u32) -> f32 {
  return 1.0;
}`,
  'dense-f32': `const COLUMNS: u32 = 4u;
const QUADS: u32 = 1u;
fn weightQuad(word: vec4<u32>, quad: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(word);
}
fn scaleOf(row: u32, chunk: u32) -> f32 {
  return 1.0;
}`,
  'dense-int4': `#import halves
const COLUMNS: u32 = 32u;
const QUADS: u32 = 8u;
@group(0) @binding(5) var<storage, read> scales: array<u32>;
fn weightQuad(word: vec4<u32>, quad: u32) -> vec4<f32> {
  let four = (word[quad / 2u] ^ 0x88888888u) >> (16u * (quad % 2u));
  let nibbles = (vec4<u32>(four) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
  return bitcast<vec4<f32>>(nibbles | vec4<u32>(0x4b000000u)) - vec4<f32>(8388616.0);
}
fn scaleOf(row: u32, chunk: u32) -> f32 {
  let at = row * op.groups + chunk * COLUMNS / op.groupSize;
  return halfOf((scales[at / 2u] >> (16u * (at % 2u))) & 0xffffu);
}`,
  'dense-int8': `#import halves
const COLUMNS: u32 = 16u;
const QUADS: u32 = 4u;
@group(0) @binding(5) var<storage, read> scales: array<u32>;
fn weightQuad(word: vec4<u32>, quad: u32) -> vec4<f32> {
  let bytes = (vec4<u32>(word[quad] ^ 0x80808080u) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu);
  return bitcast<vec4<f32>>(bytes | vec4<u32>(0x4b000000u)) - vec4<f32>(8388736.0);
}
fn scaleOf(row: u32, chunk: u32) -> f32 {
  let at = row * op.groups + chunk * COLUMNS / op.groupSize;
  return halfOf((scales[at / 2u] >> (16u * (at % 2u))) & 0xffffu);
}`,
  'dense-matmul': `#import common
#import dense-op
#import dense
const TILE: u32 = 64u;
const STEP: u32 = max(4u, QUADS);
const CHUNKS: u32 = STEP / QUADS;
var<workgroup> tileWeights: array<vec4<f32>, STEP * TILE>;
var<workgroup> tileInputs: array<vec4<f32>, STEP * TILE>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let firstRow = workgroup.x * TILE;
  let firstToken = workgroup.y * TILE;
  let tokens = tokenCount();
  let mine = vec2<u32>(index % 16u, index / 16u);
  var sums: array<vec4<f32>, 4>;
  for (var chunk = 0u; chunk < op.chunks; chunk += CHUNKS) {
    for (var unit = index; unit < CHUNKS * TILE; unit += 256u) {
      let row = unit % TILE;
      let own = chunk + unit / TILE;
      let source = min(firstRow + row, op.rows - 1u);
      var word = vec4<u32>(0u);
      var scale = 0.0;
      if (own < op.chunks) {
        word = weights[source * op.chunks + own];
        scale = scaleOf(source, own);
      }
      for (var quad = 0u; quad < QUADS; quad++) {
        tileWeights[((unit / TILE) * QUADS + quad) * TILE + row] = scale * weightQuad(word, quad);
      }
    }
    for (var unit = index; unit < STEP * TILE; unit += 256u) {
      let token = unit / STEP;
      let quad = unit % STEP;
      var x = vec4<f32>(0.0);
      if (chunk * QUADS + quad < op.chunks * QUADS) {
        x = inputs[inputRow(min(firstToken + token, tokens - 1u)) + chunk * QUADS + quad];
      }
      tileInputs[quad * TILE + token] = x;
    }
    workgroupBarrier();
    for (var quad = 0u; quad < STEP; quad++) {
      var x: array<vec4<f32>, 4>;
      for (var t = 0u; t < 4u; t++) {
        x[t] = tileInputs[quad * TILE + mine.y + 16u * t];
      }
      for (var r = 0u; r < 4u; r++) {
        let w = tileWeights[quad * TILE + mine.x + 16u * r];
        sums[r] += vec4<f32>(dot(w, x[0]), dot(w, x[1]), dot(w, x[2]), dot(w, x[3]));
      }
    }
    workgroupBarrier();
  }
  for (var t = 0u; t < 4u; t++) {
    let token = firstToken + mine.y + 16u * t;
    for (var r = 0u; r < 4u; r++) {
      let row = firstRow + mine.x + 16u * r;
      if (token < tokens && row < op.rows) {
        outs[token * op.outStride + row] = sums[r][t];
      }
    }
  }
}`,
  'dense-matvec': `#import common
#import dense-op
#import dense
#import lanes
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let token = workgroup.y;
  let lane = index % LANES;
  let first = (workgroup.x * (WORKGROUP / LANES) + index / LANES) * ROWS;
  let base = inputRow(token);
  var sums: array<f32, ROWS>;
  for (var chunk = lane; chunk < op.chunks; chunk += LANES) {
    var x: array<vec4<f32>, QUADS>;
    for (var quad = 0u; quad < QUADS; quad++) {
      x[quad] = inputs[base + chunk * QUADS + quad];
    }
    for (var r = 0u; r < ROWS; r++) {
      let row = min(first + r, op.rows - 1u);
      let word = weights[row * op.chunks + chunk];
      var products = vec4<f32>(0.0);
      for (var quad = 0u; quad < QUADS; quad++) {
        products = fma(weightQuad(word, quad), x[quad], products);
      }
      sums[r] = fma(scaleOf(row, chunk), products.x + products.y + products.z + products.w, sums[r]);
    }
  }
  for (var r = 0u; r < ROWS; r++) {
    let sum = sumLanes(sums[r], index);
    if (lane == r % LANES && first + r < op.rows) {
      outs[token * op.outStride + first + r] = sum;
    }
  }
}`,
  'dense-op': `struct Op {
  rows: u32,
  chunks: u32,
  groups: u32,
  groupSize: u32,
  inputStride: u32,
  outStride: u32,
  isLogits: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> inputs: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> outs: array<f32>;
@group(0) @binding(4) var<storage, read> weights: array<vec4<u32>>;
fn inputRow(token: u32) -> u32 {
  return (token + op.isLogits * run.firstLogitRow) * op.inputStride;
}
fn tokenCount() -> u32 {
  return select(run.rows, run.logitRows, op.isLogits == 1u);
}`,
  'divide': `fn divide(a: f32, b: f32) -> f32 {
  let x = split(bitcast<u32>(a));
  let y = split(bitcast<u32>(b));
  if (x.mantissa == 0u) {
    return 0.0;
  }
  var rest = x.mantissa;
  var exponent = x.exponent - y.exponent;
  if (rest < y.mantissa) {
    rest <<= 1u;
    exponent -= 1;
  }
  var quotient = 0u;
  for (var i = 0u; i < 24u; i++) {
    quotient <<= 1u;
    if (rest >= y.mantissa) {
      rest -= y.mantissa;
      quotient |= 1u;
    }
    rest <<= 1u;
  }
  if (exponent >= -126) {
    quotient += select(0u, 1u, rest > y.mantissa || (rest == y.mantissa && (quotient & 1u) == 1u));
    return bitcast<f32>((u32(exponent + 126) << 23u) + quotient);
  }
  let shift = u32(-126 - exponent);
  if (shift > 24u) {
    return 0.0;
  }
  let kept = quotient >> shift;
  let cut = quotient & ((1u << shift) - 1u);
  let half = 1u << (shift - 1u);
  let isMore = cut > half || (cut == half && (rest > 0u || (kept & 1u) == 1u));
  return bitcast<f32>(kept + select(0u, 1u, isMore));
}
struct Parts {
  mantissa: u32,
  exponent: i32,
}
fn split(bits: u32) -> Parts {
  let exponent = i32(bits >> 23u);
  let mantissa = bits & 0x7fffffu;
  if (exponent > 0) {
    return Parts(mantissa | 0x800000u, exponent - 127);
  }
  if (mantissa == 0u) {
    return Parts(0u, -126);
  }
  let shift = countLeadingZeros(mantissa) - 8u;
  return Parts(mantissa << shift, -126 - i32(shift));
}`,
  'element-add': `fn element(a: f32, b: f32) -> f32 {
  return a + b;
}`,
  'element-silu': `#import silu
fn element(a: f32, b: f32) -> f32 {
  return gated(a, b);
}`,
  'elementwise': `#import common
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
}`,
  'embed': `#import common
#import dense
struct Op {
  tokens: u32,
  out: u32,
  stride: u32,
  width: u32,
  chunks: u32,
  groups: u32,
  groupSize: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(3) var<storage, read> codes: array<u32>;
@group(0) @binding(4) var<storage, read> weights: array<vec4<u32>>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let k = id.x * 4u;
  if (k >= op.width) {
    return;
  }
  let row = codes[op.tokens + id.y];
  let chunk = k / COLUMNS;
  let values = scaleOf(row, chunk) * weightQuad(weights[row * op.chunks + chunk], (k % COLUMNS) / 4u);
  for (var j = 0u; j < min(4u, op.width - k); j++) {
    floats[op.out + id.y * op.stride + k + j] = values[j];
  }
}`,
  'exp': `fn expNegative(x: f32) -> f32 {
  let t = select(x, -87.0, x < -87.0);
  let n = round(t * 1.44269504f);
  let r = fma(n, -1.42860677e-6f, fma(n, -0.693145752f, t));
  var p = 1.9875691500e-4f;
  p = fma(p, r, 1.3981999507e-3f);
  p = fma(p, r, 8.3334519073e-3f);
  p = fma(p, r, 4.1665795894e-2f);
  p = fma(p, r, 1.6666665459e-1f);
  p = fma(p, r, 5.0000001201e-1f);
  p = fma(p * r, r, r) + 1.0;
  let scaled = p * bitcast<f32>(u32(i32(n) + 127) << 23u);
  return select(scaled, 0.0, x < -87.0);
}`,
  'gram': `#import common
struct Op {
  left: u32,
  right: u32,
  stride: u32,
  width: u32,
  out: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(3) var<storage, read_write> stats: array<vec2<f32>>;
@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= op.width || id.y >= op.width) {
    return;
  }
  var sum = 0.0;
  for (var row = 0u; row < run.rows; row++) {
    let at = row * op.stride;
    sum = fma(floats[op.left + at + id.y], floats[op.right + at + id.x], sum);
  }
  let at = op.out + id.y * op.width + id.x;
  let held = stats[at];
  let high = keep(held.x + sum);
  let own = keep(high - held.x);
  let lost = keep(held.x - keep(high - own)) + keep(sum - own);
  stats[at] = vec2<f32>(high, select(held.y + lost, 0.0, isBroken(bitcast<u32>(high))));
}`,
  'halves-f16': `enable f16;
fn unpackHalves(word: u32) -> vec2<f32> {
  return vec2<f32>(bitcast<vec2<f16>>(word));
}
fn halfOf(bits: u32) -> f32 {
  return unpackHalves(bits).x;
}
fn unpackAnyHalves(word: u32) -> vec2<f32> {
  return unpackHalves(word);
}`,
  'halves': `fn halfOf(bits: u32) -> f32 {
  let magnitude = bits & 0x7fffu;
  let normal = bitcast<f32>((magnitude << 13u) + 0x38000000u);
  let value = select(normal, f32(magnitude) * 0x1p-24f, magnitude < 0x400u);
  return bitcast<f32>(bitcast<u32>(value) | ((bits & 0x8000u) << 16u));
}
fn unpackHalves(word: u32) -> vec2<f32> {
  return vec2<f32>(halfOf(word & 0xffffu), halfOf(word >> 16u));
}
fn unpackAnyHalves(word: u32) -> vec2<f32> {
  let magnitudes = vec2<u32>(word, word >> 16u) & vec2<u32>(0x7fffu);
  let broken = select(vec2<u32>(0u), vec2<u32>(0x7f800000u), magnitudes >= vec2<u32>(0x7c00u));
  return bitcast<vec2<f32>>(bitcast<vec2<u32>>(unpackHalves(word)) | broken);
}`,
  'held': `alias Held = array<vec4<f32>, HELD>;
fn columnOf(word: u32) -> u32 {
  return (word / 8u) * 32u + word % 8u;
}
fn columnsOf(column: u32) -> vec4<u32> {
  return vec4<u32>(column, column + 8u, column + 16u, column + 24u);
}
fn loadWord(base: u32, column: u32) -> vec4<f32> {
  let k = columnsOf(column);
  let at = min(k, vec4<u32>(WIDTH - 1u)) + vec4<u32>(base);
  let x = vec4<f32>(floats[at.x], floats[at.y], floats[at.z], floats[at.w]);
  return select(vec4<f32>(0.0), x, k < vec4<u32>(WIDTH));
}
fn storeWord(base: u32, column: u32, x: vec4<f32>) {
  for (var b = 0u; b < 4u; b++) {
    if (column + 8u * b < WIDTH) {
      floats[base + column + 8u * b] = x[b];
    }
  }
}`,
  'lanes-subgroups': `enable subgroups;
const SHUFFLED: u32 = min(LANES, SUBGROUP);
var<workgroup> lanePartial: array<f32, WORKGROUP / SHUFFLED>;
fn sumLanes(value: f32, index: u32) -> f32 {
  var sum = value;
  for (var distance = 1u; distance < SHUFFLED; distance <<= 1u) {
    sum += subgroupShuffleXor(sum, distance);
  }
  if (LANES > SHUFFLED) {
    if (index % SHUFFLED == 0u) {
      lanePartial[index / SHUFFLED] = sum;
    }
    workgroupBarrier();
    let first = (index - index % LANES) / SHUFFLED;
    sum = 0.0;
    for (var part = 0u; part < LANES / SHUFFLED; part++) {
      sum += lanePartial[first + part];
    }
    workgroupBarrier();
  }
  return sum;
}`,
  'lanes': `var<workgroup> lanePartial: array<f32, WORKGROUP>;
fn sumLanes(value: f32, index: u32) -> f32 {
  if (LANES == 1u) {
    return value;
  }
  lanePartial[index] = value;
  workgroupBarrier();
  for (var width = LANES / 2u; width > 0u; width >>= 1u) {
    if (index % LANES < width) {
      lanePartial[index] += lanePartial[index + width];
    }
    workgroupBarrier();
  }
  let sum = lanePartial[index - index % LANES];
  workgroupBarrier();
  return sum;
}`,
  'logit-key': `fn keyOf(logit: f32) -> u32 {
  let held = bitcast<u32>(logit);
  let bits = select(held, 0u, held == 0x80000000u);
  let key = select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
  return select(key, 0xffffffffu, (bits & 0x7fffffffu) > 0x7f800000u);
}`,
  'nearest-code': `fn nearestCode(distance: f32, step: f32, most: u32) -> u32 {
  if (!(distance > 0.0)) {
    return 0u;
  }
  let near = distance / step;
  if (near > f32(most) + 0.75) {
    return most;
  }
  let below = floor(near);
  if (abs(near - below - 0.5) > 0x1p-10f) {
    return min(most, u32(below + select(0.0, 1.0, near - below > 0.5)));
  }
  return roundCode(divide(distance, step), most);
}
fn roundCode(exact: f32, most: u32) -> u32 {
  let whole = floor(min(exact, f32(most) + 1.0));
  let rest = exact - whole;
  let isUp = rest > 0.5 || (rest == 0.5 && (u32(whole) & 1u) == 1u);
  return min(most, u32(whole) + select(0u, 1u, isUp));
}`,
  'norm': `#import common
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
}`,
  'quantize': `#import common
#import divide
#import nearest-code
#import tiny
#import reduce
#import held
#import row
#import rotation
#import codes
struct Op {
  input: u32,
  stride: u32,
  out: u32,
  outStride: u32,
  clipLow: f32,
  clipHigh: f32,
  first: u32,
  second: u32,
  epsilon: f32,
  filled: u32,
  span: u32,
  scale: f32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(3) var<storage, read_write> codes: array<u32>;
fn ordered(bits: u32) -> u32 {
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}
fn encode(x: f32, lo: f32, step: f32) -> u32 {
  if (!rowIsTiny) {
    return nearestCode(x - lo, step, 15u);
  }
  let distance = lift(x) - lift(lo);
  if (!(distance > 0.0)) {
    return 0u;
  }
  return roundCode(divide(unlift(distance), step), 15u);
}
var<private> rowLo: f32;
var<private> rowStep: f32;
var<private> rowIsTiny: bool;
fn codesOf(x: vec4<f32>, column: u32) -> vec4<u32> {
  var result = vec4<u32>(0u);
  if (bitcast<u32>(rowStep) == 0u || isBroken(bitcast<u32>(rowStep))) {
    return result;
  }
  for (var b = 0u; b < 4u; b++) {
    if (column + 8u * b < WIDTH) {
      result[b] = encode(x[b], rowLo, rowStep);
    }
  }
  return result;
}
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let row = group.y;
  clearBlocks(index);
  let filled = fillRow(row, op.filled + row * op.stride, index);
  let held = rotateRow(filled, op.input + row * op.stride, index);
  var range = vec2<u32>(0xffffffffu, 0u);
  for (var i = 0u; i < HELD; i++) {
    let column = columnOf(index + i * THREADS);
    for (var b = 0u; b < 4u; b++) {
      if (column + 8u * b < WIDTH) {
        let bits = bitcast<u32>(held[i][b]);
        let key = ordered(bits);
        let isNan = (bits & 0x7fffffffu) > 0x7f800000u;
        range = vec2<u32>(min(range.x, key), max(range.y, select(key, 0xffffffffu, isNan)));
      }
    }
  }
  range = reduceRange(range, index);
  let least = unordered(range.x);
  let most = unordered(range.y);
  let largest = max(bitcast<u32>(least) & 0x7fffffffu, bitcast<u32>(most) & 0x7fffffffu);
  rowIsTiny = largest < 0x0d800000u;
  var extent: f32;
  if (rowIsTiny) {
    let low = multiplyLifted(op.clipLow, lift(least));
    rowLo = unlift(low);
    extent = unlift(multiplyLifted(op.clipHigh, lift(most)) - low);
  } else {
    rowLo = keep(op.clipLow * least);
    extent = keep(keep(op.clipHigh * most) - rowLo);
  }
  rowStep = 0.0;
  if (range.y == 0xffffffffu || isBroken(bitcast<u32>(extent))) {
    rowLo = bitcast<f32>(0x7fc00000u | run.zero);
    rowStep = rowLo;
  } else if (bitcast<i32>(extent) > 0) {
    rowStep = divide(extent, 15.0);
  }
  let out = op.out + row * op.outStride;
  if (index == 0u) {
    codes[out] = bitcast<u32>(rowLo);
    codes[out + 1u] = bitcast<u32>(rowStep);
  }
  for (var i = 0u; i < HELD; i++) {
    let word = index + i * THREADS;
    if (word < BLOCKS * 8u) {
      writeWord(out + 4u, word, codesOf(held[i], columnOf(word)));
    }
  }
  workgroupBarrier();
  for (var block = index; block < BLOCKS; block += THREADS) {
    finishBlock(out + 4u, block);
  }
}`,
  'reduce-subgroups': `enable subgroups;
const PARTS: u32 = THREADS / SUBGROUP;
var<workgroup> reduced: array<vec2<u32>, PARTS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  var sum = value;
  for (var distance = 1u; distance < SUBGROUP; distance <<= 1u) {
    sum += subgroupShuffleXor(sum, distance);
  }
  if (index % SUBGROUP == 0u) {
    reduced[index / SUBGROUP].x = bitcast<u32>(sum);
  }
  workgroupBarrier();
  if (PARTS <= SUBGROUP) {
    sum = bitcast<f32>(reduced[index % PARTS].x);
    for (var distance = 1u; distance < PARTS; distance <<= 1u) {
      sum += subgroupShuffleXor(sum, distance);
    }
  } else {
    sum = 0.0;
    for (var part = 0u; part < PARTS; part++) {
      sum += bitcast<f32>(reduced[part].x);
    }
  }
  workgroupBarrier();
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  var range = value;
  for (var distance = 1u; distance < SUBGROUP; distance <<= 1u) {
    let other = subgroupShuffleXor(range, distance);
    range = vec2<u32>(min(range.x, other.x), max(range.y, other.y));
  }
  if (index % SUBGROUP == 0u) {
    reduced[index / SUBGROUP] = range;
  }
  workgroupBarrier();
  if (PARTS <= SUBGROUP) {
    range = reduced[index % PARTS];
    for (var distance = 1u; distance < PARTS; distance <<= 1u) {
      let other = subgroupShuffleXor(range, distance);
      range = vec2<u32>(min(range.x, other.x), max(range.y, other.y));
    }
  } else {
    for (var part = 0u; part < PARTS; part++) {
      range = vec2<u32>(min(range.x, reduced[part].x), max(range.y, reduced[part].y));
    }
  }
  workgroupBarrier();
  return range;
}`,
  'reduce': `var<workgroup> reduced: array<vec2<u32>, THREADS>;
fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}`,
  'rope-cache': `#import common
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
}`,
  'rope': `#import common
#import turn
struct Op {
  first: u32,
  firstStride: u32,
  firstHeads: u32,
  second: u32,
  secondStride: u32,
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
}`,
  'rotate': `#import common
#import rotation-signs
struct Op {
  input: u32,
  out: u32,
  stride: u32,
  width: u32,
  span: u32,
  scale: f32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
const THREADS: u32 = 256u;
const TILE: u32 = 4096u;
var<workgroup> tile: array<f32, TILE>;
#import rotation-passes
fn lowerPlace(pair: u32, half: u32) -> u32 {
  return ((pair & ~(half - 1u)) << 1u) | (pair & (half - 1u));
}
fn transform(base: u32, index: u32) {
  let count = min(op.span, TILE);
  for (var start = 0u; start < op.span; start += TILE) {
    for (var i = index; i < count; i += THREADS) {
      tile[placeOf(i)] = floats[base + start + i];
    }
    workgroupBarrier();
    transformTile(0u, count, index);
    for (var i = index; i < count; i += THREADS) {
      floats[base + start + i] = tile[placeOf(i)];
    }
    workgroupBarrier();
  }
  storageBarrier();
  for (var half = TILE; half < op.span; half <<= 1u) {
    for (var pair = index; pair < op.span / 2u; pair += THREADS) {
      let i = base + lowerPlace(pair, half);
      let a = floats[i];
      let b = floats[i + half];
      floats[i] = a + b;
      floats[i + half] = a - b;
    }
    storageBarrier();
  }
  for (var i = index; i < op.span; i += THREADS) {
    floats[base + i] = keep(floats[base + i] * op.scale);
  }
  storageBarrier();
}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let base = op.input + group.y * op.stride;
  let row = op.out + group.y * op.stride;
  for (var k = index; k < op.width; k += THREADS) {
    floats[row + k] = signed(floats[base + k], k);
  }
  storageBarrier();
  transform(row, index);
  if (op.span == op.width) {
    return;
  }
  for (var k = index; k < op.width; k += THREADS) {
    floats[row + k] = signed(floats[row + k], 5u * k);
  }
  storageBarrier();
  transform(row + op.width - op.span, index);
}`,
  'rotation-none': `fn rotateRow(held: Held, base: u32, index: u32) -> Held {
  return held;
}`,
  'rotation-passes': `fn placesOf(i: vec4<u32>) -> vec4<u32> {
  return i ^ ((i >> vec4<u32>(5u)) & vec4<u32>(7u)) ^ ((i >> vec4<u32>(3u)) & vec4<u32>(24u));
}
fn placeOf(i: u32) -> u32 {
  return placesOf(vec4<u32>(i)).x;
}
fn crossPass(first: u32, count: u32, half: u32, stages: u32, index: u32) {
  for (var unit = index; unit * 8u < count; unit += THREADS) {
    let start = first + ((unit & ~(half - 1u)) << 3u) + (unit & (half - 1u));
    let p = placesOf(vec4<u32>(start) + vec4<u32>(0u, 1u, 2u, 3u) * half);
    let q = placesOf(vec4<u32>(start) + vec4<u32>(4u, 5u, 6u, 7u) * half);
    var a = vec4<f32>(tile[p.x], tile[p.y], tile[p.z], tile[p.w]);
    var b = vec4<f32>(tile[q.x], tile[q.y], tile[q.z], tile[q.w]);
    a = vec4<f32>(a.x + a.y, a.x - a.y, a.z + a.w, a.z - a.w);
    b = vec4<f32>(b.x + b.y, b.x - b.y, b.z + b.w, b.z - b.w);
    if (stages > 1u) {
      a = vec4<f32>(a.xy + a.zw, a.xy - a.zw);
      b = vec4<f32>(b.xy + b.zw, b.xy - b.zw);
    }
    if (stages > 2u) {
      let sum = a + b;
      b = a - b;
      a = sum;
    }
    tile[p.x] = a.x;
    tile[p.y] = a.y;
    if (count > 2u) {
      tile[p.z] = a.z;
      tile[p.w] = a.w;
    }
    if (count > 4u) {
      tile[q.x] = b.x;
      tile[q.y] = b.y;
      tile[q.z] = b.z;
      tile[q.w] = b.w;
    }
  }
  workgroupBarrier();
}
fn transformTile(first: u32, count: u32, index: u32) {
  var stages = (countTrailingZeros(count) + 2u) % 3u + 1u;
  for (var half = 1u; half < count;) {
    crossPass(first, count, half, stages, index);
    half <<= stages;
    stages = 3u;
  }
}`,
  'rotation-signs': `fn signed(x: f32, k: u32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ (countOneBits(k & (k >> 1u)) << 31u));
}`,
  'rotation-tile': `#import rotation-signs
var<workgroup> tile: array<f32, BLOCKS * 32u>;
#import rotation-passes
fn rotateRow(held: Held, base: u32, index: u32) -> Held {
  for (var i = 0u; i < HELD; i++) {
    let column = columnOf(index + i * THREADS);
    for (var b = 0u; b < 4u; b++) {
      let k = column + 8u * b;
      if (k < WIDTH) {
        tile[placeOf(k)] = signed(held[i][b], k);
      }
    }
  }
  workgroupBarrier();
  transformTile(0u, op.span, index);
  if (op.span < WIDTH) {
    for (var k = index; k < WIDTH; k += THREADS) {
      let x = tile[placeOf(k)];
      tile[placeOf(k)] = signed(select(x, keep(x * op.scale), k < op.span), 5u * k);
    }
    workgroupBarrier();
    transformTile(WIDTH - op.span, op.span, index);
  }
  var rotated = Held();
  for (var i = 0u; i < HELD; i++) {
    let column = columnOf(index + i * THREADS);
    for (var b = 0u; b < 4u; b++) {
      let k = column + 8u * b;
      if (k < WIDTH) {
        let x = tile[placeOf(k)];
        rotated[i][b] = select(x, keep(x * op.scale), k >= WIDTH - op.span);
      }
    }
    storeWord(base, column, rotated[i]);
  }
  return rotated;
}`,
  'round-half': `fn roundHalf(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let sign = (bits >> 16u) & 0x8000u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude >= 0x7f800000u) {
    return 0x7e00u;
  }
  if (magnitude >= 0x477fe000u) {
    return sign | 0x7bffu;
  }
  if (magnitude >= 0x38800000u) {
    return sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u);
  }
  if (magnitude < 0x33000000u) {
    return sign;
  }
  let shift = 126u - (magnitude >> 23u);
  let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  let kept = mantissa >> shift;
  let cut = mantissa & ((1u << shift) - 1u);
  let half = 1u << (shift - 1u);
  return sign | (kept + select(0u, 1u, cut > half || (cut == half && (kept & 1u) == 1u)));
}`,
  'row-given': `fn fillRow(row: u32, base: u32, index: u32) -> Held {
  var held = Held();
  for (var i = 0u; i < HELD; i++) {
    held[i] = loadWord(base, columnOf(index + i * THREADS));
  }
  return held;
}`,
  'row-norm': `@group(0) @binding(4) var<storage, read> normWeight: array<f32>;
fn loadWeights(column: u32) -> vec4<f32> {
  let k = min(columnsOf(column), vec4<u32>(WIDTH - 1u));
  return vec4<f32>(normWeight[k.x], normWeight[k.y], normWeight[k.z], normWeight[k.w]);
}
fn fillRow(row: u32, base: u32, index: u32) -> Held {
  var held = Held();
  var weights = Held();
  var squares = 0.0;
  for (var i = 0u; i < HELD; i++) {
    let column = columnOf(index + i * THREADS);
    held[i] = loadWord(op.first + row * op.stride, column);
    weights[i] = loadWeights(column);
    squares += dot(held[i], held[i]);
  }
  let mean = reduceSum(squares, index) / f32(WIDTH);
  let scale = inverseSqrt(mean + op.epsilon);
  for (var i = 0u; i < HELD; i++) {
    held[i] = held[i] * scale * weights[i];
    held[i] = vec4<f32>(keep(held[i].x), keep(held[i].y), keep(held[i].z), keep(held[i].w));
    storeWord(base, columnOf(index + i * THREADS), held[i]);
  }
  return held;
}`,
  'row-silu': `#import silu
fn fillRow(row: u32, base: u32, index: u32) -> Held {
  var held = Held();
  let offset = row * op.stride;
  for (var i = 0u; i < HELD; i++) {
    let column = columnOf(index + i * THREADS);
    let gate = loadWord(op.first + offset, column);
    let up = loadWord(op.second + offset, column);
    held[i] = vec4<f32>(gated(gate.x, up.x), gated(gate.y, up.y), gated(gate.z, up.z), gated(gate.w, up.w));
    storeWord(base, column, held[i]);
  }
  return held;
}`,
  'silu': `#import exp
fn gated(gate: f32, up: f32) -> f32 {
  let e = expNegative(-abs(gate));
  let sigmoid = select(e, 1.0, gate >= 0.0) / (1.0 + e);
  return keep(gate * sigmoid * up);
}`,
  'take-columns': `#import common
struct Op {
  input: u32,
  kept: u32,
  stride: u32,
  width: u32,
  taken: u32,
  takenStride: u32,
  count: u32,
  table: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(3) var<storage, read> tables: array<u32>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let k = id.x;
  let base = op.input + id.y * op.stride;
  if (k < op.width) {
    let isTaken = ((tables[op.table + k / 32u] >> (k % 32u)) & 1u) == 1u;
    floats[op.kept + id.y * op.stride + k] = select(floats[base + k], 0.0, isTaken);
  }
  if (k < op.count) {
    let column = tables[op.table + (op.width + 31u) / 32u + k];
    floats[op.taken + id.y * op.takenStride + k] = floats[base + column];
  }
}`,
  'tiny': `const LIFT: u32 = 100u << 23u;
const LEAST_NORMAL: f32 = 0x1p-26f;
fn lift(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let magnitude = bits & 0x7fffffffu;
  let lifted = select(bitcast<f32>(magnitude + LIFT), f32(magnitude) * 0x1p-49f, magnitude < 0x800000u);
  return bitcast<f32>(bitcast<u32>(lifted) | (bits & 0x80000000u));
}
fn unlift(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let magnitude = bits & 0x7fffffffu;
  let small = u32(abs(x) * 0x1p49f);
  return bitcast<f32>(select(magnitude - LIFT, small, abs(x) < LEAST_NORMAL) | (bits & 0x80000000u));
}
fn multiplyLifted(a: f32, x: f32) -> f32 {
  let product = keep(a * x);
  let rounded = keep(fma(a, x, 0x1.8p-26f)) - 0x1.8p-26f;
  return select(product, rounded, abs(product) < LEAST_NORMAL);
}`,
  'top': `#import common
#import logit-key
struct Op {
  logits: u32,
  width: u32,
  part: u32,
  candidates: u32,
  count: u32,
  result: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(3) var<storage, read_write> codes: array<u32>;
const THREADS: u32 = 256u;
var<workgroup> counts: array<atomic<u32>, 256>;
var<workgroup> reaching: array<u32, 256>;
var<workgroup> found: vec3<u32>;
var<workgroup> filled: atomic<u32>;
var<private> isFirst: bool;
var<private> start: u32;
fn candidateAt(i: u32) -> vec2<u32> {
  if (isFirst) {
    return vec2<u32>(keyOf(floats[op.logits + start + i]), ~(start + i));
  }
  return vec2<u32>(codes[start + 2u * i], codes[start + 2u * i + 1u]);
}
fn findLeast(count: u32, wanted: u32, index: u32) -> vec2<u32> {
  var least = vec2<u32>(0u);
  var left = wanted;
  for (var digit = 0u; digit < 8u; digit++) {
    let word = digit / 4u;
    let shift = 24u - 8u * (digit % 4u);
    let known = ~(0xffffffffu >> (8u * (digit % 4u)));
    let mask = select(vec2<u32>(0xffffffffu, known), vec2<u32>(known, 0u), word == 0u);
    atomicStore(&counts[index], 0u);
    workgroupBarrier();
    for (var i = index; i < count; i += THREADS) {
      let one = candidateAt(i);
      if (all((one & mask) == least)) {
        atomicAdd(&counts[(one[word] >> shift) & 255u], 1u);
      }
    }
    workgroupBarrier();
    let own = atomicLoad(&counts[index]);
    reaching[index] = own;
    workgroupBarrier();
    for (var distance = 1u; distance < 256u; distance <<= 1u) {
      var further = 0u;
      if (index + distance < 256u) {
        further = reaching[index + distance];
      }
      workgroupBarrier();
      reaching[index] += further;
      workgroupBarrier();
    }
    let larger = reaching[index] - own;
    if (larger < left && reaching[index] >= left) {
      found = vec3<u32>(index, larger, own);
    }
    let one = workgroupUniformLoad(&found);
    least[word] |= one.x << shift;
    left -= one.y;
    if (one.z == left) {
      break;
    }
  }
  return least;
}
fn selectTop(count: u32, out: u32, index: u32) {
  let wanted = run.top;
  var least = vec2<u32>(0u);
  if (count > wanted) {
    least = findLeast(count, wanted, index);
  }
  if (index == 0u) {
    atomicStore(&filled, 0u);
  }
  workgroupBarrier();
  for (var i = index; i < count; i += THREADS) {
    let one = candidateAt(i);
    if (one.x > least.x || (one.x == least.x && one.y >= least.y)) {
      let at = out + 2u * atomicAdd(&filled, 1u);
      codes[at] = one.x;
      codes[at + 1u] = one.y;
    }
  }
  for (var i = count + index; i < wanted; i += THREADS) {
    codes[out + 2u * i] = 0u;
    codes[out + 2u * i + 1u] = 0u;
  }
}
@compute @workgroup_size(256)
fn first(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let begin = group.x * op.part;
  isFirst = true;
  start = begin;
  selectTop(min(op.part, op.width - begin), op.candidates + 2u * run.top * group.x, index);
}
@compute @workgroup_size(256)
fn second(@builtin(local_invocation_index) index: u32) {
  isFirst = false;
  start = op.candidates;
  selectTop(op.count * run.top, op.result, index);
}`,
  'turn': `fn turnLower(a: f32, b: f32, cosine: f32, sine: f32) -> f32 {
  return keep(a * cosine) - keep(b * sine);
}
fn turnUpper(a: f32, b: f32, cosine: f32, sine: f32) -> f32 {
  return keep(a * sine) + keep(b * cosine);
}`,
  'w11-chunk-type': `struct Chunk {
  a0: vec4<u32>,
  b0: vec4<u32>,
  a1: vec4<u32>,
  b1: vec4<u32>,
  a2: vec4<u32>,
  b2: vec4<u32>,
  a3: vec4<u32>,
  b3: vec4<u32>,
  sums: vec4<u32>,
}`,
  'w11-chunk': `#import w11-levels
#import w11-product
@group(0) @binding(3) var<storage, read> codes: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> bits: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> rowSums: array<f32>;
fn loadChunk(base: u32, chunk: u32) -> Chunk {
  let at = base + 1u + chunk * 4u * CODE_QUADS;
  let other = CODE_QUADS - 1u;
  return Chunk(
    codes[at],
    codes[at + other],
    codes[at + CODE_QUADS],
    codes[at + CODE_QUADS + other],
    codes[at + 2u * CODE_QUADS],
    codes[at + 2u * CODE_QUADS + other],
    codes[at + 3u * CODE_QUADS],
    codes[at + 3u * CODE_QUADS + other],
    codes[base + 1u + op.chunks * 4u * CODE_QUADS + chunk],
  );
}
fn combine(c: vec4<f32>, plain: u32, masked: vec3<u32>) -> f32 {
  let exact = vec3<f32>(masked);
  return c.x * f32(plain) + c.y * exact.x + c.z * exact.y + c.w * exact.z;
}
fn endGroup(row: u32, chunk: u32, word: u32, masked: Masked, plain: u32) -> f32 {
  let group = min((chunk * 4u + word) / GROUP_WORDS, op.groups - 1u);
  return combine(coefficients(row * op.groups + group), plain, resolve(masked));
}
fn groupOf(row: u32, chunk: u32) -> u32 {
  return row * op.groups + chunk * 4u / GROUP_WORDS;
}
fn multiplyWhole(levelWords: vec2<u32>, sign: vec4<u32>, bitmap: vec4<u32>, a: Chunk) -> f32 {
  let plain = a.sums.x + a.sums.y + a.sums.z + a.sums.w;
  return combine(coefficientsOf(levelWords), plain, multiplyQuad(sign, bitmap, a));
}
fn multiplyChunk(row: u32, chunk: u32, sign: vec4<u32>, bitmap: vec4<u32>, a: Chunk) -> f32 {
  if (GROUP_WORDS >= 4u) {
    return multiplyWhole(loadLevels(groupOf(row, chunk)), sign, bitmap, a);
  }
  let none = Masked();
  var sum = 0.0;
  var plain = a.sums.x;
  var masked = addWord(none, sign.x, bitmap.x, a.a0, a.b0);
  if (GROUP_WORDS == 1u) {
    sum += endGroup(row, chunk, 0u, masked, plain);
    masked = none;
    plain = 0u;
  }
  masked = addWord(masked, sign.y, bitmap.y, a.a1, a.b1);
  plain += a.sums.y;
  sum += endGroup(row, chunk, 1u, masked, plain);
  masked = addWord(none, sign.z, bitmap.z, a.a2, a.b2);
  plain = a.sums.z;
  if (GROUP_WORDS == 1u) {
    sum += endGroup(row, chunk, 2u, masked, plain);
    masked = none;
    plain = 0u;
  }
  masked = addWord(masked, sign.w, bitmap.w, a.a3, a.b3);
  plain += a.sums.w;
  return sum + endGroup(row, chunk, 3u, masked, plain);
}`,
  'w11-float': `#import common
#import w11-levels
#import lanes
struct Op {
  rows: u32,
  chunks: u32,
  groups: u32,
  bitmap: u32,
  inputStride: u32,
  outStride: u32,
  columns: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> inputs: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> outs: array<f32>;
@group(0) @binding(4) var<storage, read> bits: array<u32>;
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let token = workgroup.y;
  let lane = index % LANES;
  let row = workgroup.x * (WORKGROUP / LANES) + index / LANES;
  let source = min(row, op.rows - 1u);
  let words = (op.columns + 31u) / 32u;
  var sum = 0.0;
  for (var word = lane; word < words; word += LANES) {
    let at = source * op.chunks * 4u + word;
    let sign = bits[at];
    let bitmap = bits[op.bitmap * 4u + at];
    let c = coefficients(source * op.groups + word / GROUP_WORDS);
    let level = vec4<f32>(c.x, c.x + c.y, c.x + c.z, c.x + c.y + c.z + c.w);
    var part = 0.0;
    for (var quad = 0u; quad < 8u; quad++) {
      let x = inputs[token * op.inputStride + word * 8u + quad];
      for (var j = 0u; j < 4u; j++) {
        let bit = quad * 4u + j;
        let pair = select(level.xy, level.zw, ((bitmap >> bit) & 1u) == 1u);
        part = fma(select(pair.x, pair.y, ((sign >> bit) & 1u) == 1u), x[j], part);
      }
    }
    sum += part;
  }
  sum = sumLanes(sum, index);
  if (lane == 0u && row < op.rows) {
    outs[token * op.outStride + row] = sum;
  }
}`,
  'w11-levels-pairs': `#import halves
@group(0) @binding(5) var<storage, read> levels: array<vec2<u32>>;
fn loadLevels(at: u32) -> vec2<u32> {
  return levels[at];
}
fn coefficientsOf(pair: vec2<u32>) -> vec4<f32> {
  let alpha = unpackHalves(pair.x);
  let mu = unpackHalves(pair.y);
  let c0 = mu.x - alpha.x;
  return vec4<f32>(c0, 2.0 * alpha.x, (mu.y - alpha.y) - c0, 2.0 * (alpha.y - alpha.x));
}
fn coefficients(at: u32) -> vec4<f32> {
  return coefficientsOf(loadLevels(at));
}`,
  'w11-levels-symmetric': `#import halves
@group(0) @binding(5) var<storage, read> levels: array<u32>;
fn loadLevels(at: u32) -> vec2<u32> {
  return vec2<u32>(levels[at], 0u);
}
fn coefficientsOf(pair: vec2<u32>) -> vec4<f32> {
  let alpha = unpackHalves(pair.x);
  return vec4<f32>(-alpha.x, 2.0 * alpha.x, alpha.x - alpha.y, 2.0 * (alpha.y - alpha.x));
}
fn coefficients(at: u32) -> vec4<f32> {
  return coefficientsOf(loadLevels(at));
}`,
  'w11-matmul': `#import common
#import w11-outputs
#import w11-levels
#import w11-product
@group(0) @binding(3) var<storage, read> codes: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> bits: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> rowSums: array<f32>;
const TILE: u32 = 64u;
const QUADS: u32 = 16u;
const CHUNK_WORDS: u32 = 4u;
const SPAN: u32 = min(GROUP_WORDS, CHUNK_WORDS);
const SETS: u32 = CHUNK_WORDS / SPAN;
var<workgroup> tileCodes: array<vec4<u32>, CHUNK_WORDS * PARTS * QUADS>;
var<workgroup> tileSums: array<vec4<u32>, CHUNK_WORDS * QUADS>;
var<workgroup> tileBits: array<vec4<u32>, 2u * CHUNK_WORDS * QUADS>;
fn loadCodes(unit: u32, chunk: u32, firstToken: u32) {
  let quad = unit % QUADS;
  let part = unit / QUADS;
  let isSum = part == CHUNK_WORDS * CODE_QUADS;
  let perRow = select(1u + chunk * CHUNK_WORDS * CODE_QUADS + part, 1u + op.chunks * CHUNK_WORDS * CODE_QUADS + chunk, isSum);
  var loaded: array<vec4<u32>, 4>;
  for (var t = 0u; t < 4u; t++) {
    loaded[t] = codes[op.codes + min(firstToken + quad * 4u + t, run.rows - 1u) * op.codesStride + perRow];
  }
  for (var i = 0u; i < 4u; i++) {
    let across = vec4<u32>(loaded[0][i], loaded[1][i], loaded[2][i], loaded[3][i]);
    if (isSum) {
      tileSums[i * QUADS + quad] = across;
    } else {
      tileCodes[(part * 4u + i) * QUADS + quad] = across;
    }
  }
}
fn loadBits(unit: u32, chunk: u32, firstRow: u32) {
  let quad = unit % QUADS;
  let plane = unit / QUADS;
  var loaded: array<vec4<u32>, 4>;
  for (var r = 0u; r < 4u; r++) {
    loaded[r] = bits[plane * op.bitmap + min(firstRow + quad * 4u + r, op.rows - 1u) * op.chunks + chunk];
  }
  for (var i = 0u; i < CHUNK_WORDS; i++) {
    tileBits[(plane * CHUNK_WORDS + i) * QUADS + quad] = vec4<u32>(loaded[0][i], loaded[1][i], loaded[2][i], loaded[3][i]);
  }
}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let firstRow = workgroup.x * TILE;
  let firstToken = workgroup.y * TILE;
  let rowQuad = index % QUADS;
  let tokenQuad = index / QUADS;
  var sums: array<vec4<f32>, 4>;
  for (var chunk = 0u; chunk < op.chunks; chunk++) {
    for (var unit = index; unit < (CHUNK_WORDS * CODE_QUADS + 1u) * QUADS; unit += 256u) {
      loadCodes(unit, chunk, firstToken);
    }
    if (index < 2u * QUADS) {
      loadBits(index, chunk, firstRow);
    }
    workgroupBarrier();
    for (var section = 0u; section < SETS; section++) {
      var s = array<vec4<u32>, 4>();
      var m = array<vec4<u32>, 4>();
      var both = array<vec4<u32>, 4>();
      var plain = vec4<u32>(0u);
      for (var i = 0u; i < SPAN; i++) {
        let word = section * SPAN + i;
        let sign = tileBits[word * QUADS + rowQuad];
        let bitmap = tileBits[(CHUNK_WORDS + word) * QUADS + rowQuad];
        plain += tileSums[word * QUADS + tokenQuad];
        for (var part = 0u; part < PARTS; part++) {
          let a = tileCodes[(word * PARTS + part) * QUADS + tokenQuad];
          let signPart = maskPart(sign, part);
          let bitmapPart = maskPart(bitmap, part);
          let bothPart = signPart & bitmapPart;
          for (var r = 0u; r < 4u; r++) {
            s[r] += multiplyPart(signPart[r], a, part);
            m[r] += multiplyPart(bitmapPart[r], a, part);
            both[r] += multiplyPart(bothPart[r], a, part);
          }
        }
      }
      let group = min((chunk * CHUNK_WORDS + section * SPAN) / GROUP_WORDS, op.groups - 1u);
      for (var r = 0u; r < 4u; r++) {
        let c = coefficients(min(firstRow + rowQuad * 4u + r, op.rows - 1u) * op.groups + group);
        let scaled = c.yzw * PART_SCALE;
        sums[r] += c.x * vec4<f32>(plain) + scaled.x * vec4<f32>(s[r]) + scaled.y * vec4<f32>(m[r]) + scaled.z * vec4<f32>(both[r]);
      }
    }
    workgroupBarrier();
  }
  for (var t = 0u; t < 4u; t++) {
    let token = firstToken + tokenQuad * 4u + t;
    if (token >= run.rows) {
      break;
    }
    let scale = bitcast<vec2<f32>>(codes[op.codes + token * op.codesStride].xy);
    for (var r = 0u; r < 4u; r++) {
      let row = firstRow + rowQuad * 4u + r;
      if (row < op.rows) {
        writeOut(token, row, keep(scale.y * sums[r][t] + scale.x * rowSums[row]));
      }
    }
  }
}`,
  'w11-matvec': `#import common
#import w11-outputs
#import w11-chunk
#import lanes
fn multiplyRow(row: u32, chunk: u32, held: Chunk) -> f32 {
  let at = row * op.chunks + chunk;
  return multiplyChunk(row, chunk, bits[at], bits[op.bitmap + at], held);
}
fn finish(token: u32, row: u32, isMine: bool, sum: f32, scale: vec2<f32>) {
  if (isMine && row < op.rows) {
    writeOut(token, row, keep(scale.y * sum + scale.x * rowSums[row]));
  }
}
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let token = workgroup.y;
  let lane = index % LANES;
  let first = (workgroup.x * (WORKGROUP / LANES) + index / LANES) * ROWS;
  let last = op.rows - 1u;
  let base = op.codes + token * op.codesStride;
  var sums = vec4<f32>(0.0);
  for (var chunk = lane; chunk < op.chunks; chunk += LANES) {
    let held = loadChunk(base, chunk);
    sums.x += multiplyRow(min(first, last), chunk, held);
    if (ROWS > 1u) {
      sums.y += multiplyRow(min(first + 1u, last), chunk, held);
    }
    if (ROWS > 2u) {
      sums.z += multiplyRow(min(first + 2u, last), chunk, held);
      sums.w += multiplyRow(min(first + 3u, last), chunk, held);
    }
  }
  let scale = bitcast<vec2<f32>>(codes[base].xy);
  finish(token, first, lane == 0u, sumLanes(sums.x, index), scale);
  if (ROWS > 1u) {
    finish(token, first + 1u, lane == 1u % LANES, sumLanes(sums.y, index), scale);
  }
  if (ROWS > 2u) {
    finish(token, first + 2u, lane == 2u % LANES, sumLanes(sums.z, index), scale);
    finish(token, first + 3u, lane == 3u % LANES, sumLanes(sums.w, index), scale);
  }
}`,
  'w11-outputs': `struct Op {
  rows: u32,
  chunks: u32,
  groups: u32,
  codes: u32,
  codesStride: u32,
  bitmap: u32,
  endFirst: u32,
  endSecond: u32,
  outFirst: u32,
  outSecond: u32,
  outThird: u32,
  strideFirst: u32,
  strideSecond: u32,
  strideThird: u32,
  sum: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
fn writeOut(token: u32, row: u32, value: f32) {
  if (row < op.endFirst) {
    let at = token * op.strideFirst + row;
    floats[op.outFirst + at] = value;
    if (op.sum != 0xffffffffu) {
      floats[op.sum + at] += value;
    }
  } else if (row < op.endSecond) {
    floats[op.outSecond + token * op.strideSecond + row - op.endFirst] = value;
  } else {
    floats[op.outThird + token * op.strideThird + row - op.endSecond] = value;
  }
}`,
  'w11-product-bits': `#import w11-chunk-type
const CODE_QUADS: u32 = 1u;
const CODE_WORDS: u32 = 4u;
struct Masked {
  sums: vec3<u32>,
}
fn countMasked(bits: u32, planes: vec4<u32>) -> u32 {
  return dot(countOneBits(vec4<u32>(bits) & planes), vec4<u32>(1u, 2u, 4u, 8u));
}
fn addWord(sums: Masked, s: u32, m: u32, planes: vec4<u32>, unused: vec4<u32>) -> Masked {
  return Masked(sums.sums + vec3<u32>(countMasked(s, planes), countMasked(m, planes), countMasked(s & m, planes)));
}
fn resolve(sums: Masked) -> vec3<u32> {
  return sums.sums;
}
fn countQuad(mask: vec4<u32>, a: Chunk) -> u32 {
  let x = vec4<u32>(mask.x) & a.a0;
  let y = vec4<u32>(mask.y) & a.a1;
  let z = vec4<u32>(mask.z) & a.a2;
  let odd = x ^ y;
  let carry = (x & y) | (odd & z);
  let counts = countOneBits(odd ^ z) + countOneBits(vec4<u32>(mask.w) & a.a3) + 2u * countOneBits(carry);
  return dot(counts, vec4<u32>(1u, 2u, 4u, 8u));
}
fn multiplyQuad(sign: vec4<u32>, bitmap: vec4<u32>, a: Chunk) -> vec3<u32> {
  return vec3<u32>(countQuad(sign, a), countQuad(bitmap, a), countQuad(sign & bitmap, a));
}
const PARTS: u32 = 4u;
const PART_SCALE: f32 = 1.0;
fn maskPart(bits: vec4<u32>, part: u32) -> vec4<u32> {
  return bits;
}
fn multiplyPart(mask: u32, codes: vec4<u32>, part: u32) -> vec4<u32> {
  return countOneBits(vec4<u32>(mask) & codes) << vec4<u32>(part);
}`,
  'w11-product-dot': `#import w11-chunk-type
const CODE_QUADS: u32 = 2u;
const CODE_WORDS: u32 = 8u;
struct Masked {
  low: vec3<u32>,
  high: vec3<u32>,
}
fn dotMasked(bits: u32, mask: u32, codes: vec4<u32>) -> u32 {
  return dot4U8Packed(bits & mask, codes.x)
    + dot4U8Packed(bits & (mask << 1u), codes.y)
    + dot4U8Packed(bits & (mask << 2u), codes.z)
    + dot4U8Packed(bits & (mask << 3u), codes.w);
}
fn addWord(sums: Masked, s: u32, m: u32, first: vec4<u32>, second: vec4<u32>) -> Masked {
  let both = s & m;
  let low = vec3<u32>(
    dotMasked(s, 0x01010101u, first),
    dotMasked(m, 0x01010101u, first),
    dotMasked(both, 0x01010101u, first),
  );
  let high = vec3<u32>(
    dotMasked(s, 0x10101010u, second),
    dotMasked(m, 0x10101010u, second),
    dotMasked(both, 0x10101010u, second),
  );
  return Masked(sums.low + low, sums.high + high);
}
fn resolve(sums: Masked) -> vec3<u32> {
  return (sums.low >> vec3<u32>(3u)) + (sums.high >> vec3<u32>(7u));
}
fn multiplyQuad(sign: vec4<u32>, bitmap: vec4<u32>, a: Chunk) -> vec3<u32> {
  var masked = addWord(Masked(), sign.x, bitmap.x, a.a0, a.b0);
  masked = addWord(masked, sign.y, bitmap.y, a.a1, a.b1);
  masked = addWord(masked, sign.z, bitmap.z, a.a2, a.b2);
  masked = addWord(masked, sign.w, bitmap.w, a.a3, a.b3);
  return resolve(masked);
}
const PARTS: u32 = 8u;
const PART_SCALE: f32 = 0.0078125;
fn maskPart(bits: vec4<u32>, part: u32) -> vec4<u32> {
  let own = bits & vec4<u32>(0x01010101u << part);
  return own << vec4<u32>(select(0u, 4u, part < 4u));
}
fn multiplyPart(mask: u32, codes: vec4<u32>, part: u32) -> vec4<u32> {
  return vec4<u32>(
    dot4U8Packed(mask, codes.x),
    dot4U8Packed(mask, codes.y),
    dot4U8Packed(mask, codes.z),
    dot4U8Packed(mask, codes.w),
  );
}`,
  'w11-stream': `#import common
#import w11-outputs
#import w11-chunk
enable subgroups;
const OWN: u32 = min(LANES, SUBGROUP);
const SPLITS: u32 = LANES / OWN;
const TEAMS: u32 = WORKGROUP / LANES;
var<workgroup> partial: array<f32, 2u * TEAMS * 4u * SPLITS>;
struct Bits {
  s0: vec4<u32>,
  m0: vec4<u32>,
  s1: vec4<u32>,
  m1: vec4<u32>,
  s2: vec4<u32>,
  m2: vec4<u32>,
  s3: vec4<u32>,
  m3: vec4<u32>,
  l0: vec2<u32>,
  l1: vec2<u32>,
  l2: vec2<u32>,
  l3: vec2<u32>,
}
fn loadBits(first: u32, chunk: u32) -> Bits {
  let last = op.rows - 1u;
  let rows = min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(last));
  let at = rows * op.chunks + vec4<u32>(chunk);
  let m = at + vec4<u32>(op.bitmap);
  return Bits(
    bits[at.x],
    bits[m.x],
    bits[at.y],
    bits[m.y],
    bits[at.z],
    bits[m.z],
    bits[at.w],
    bits[m.w],
    loadLevels(groupOf(rows.x, chunk)),
    loadLevels(groupOf(rows.y, chunk)),
    loadLevels(groupOf(rows.z, chunk)),
    loadLevels(groupOf(rows.w, chunk)),
  );
}
fn multiplyHeld(row: u32, chunk: u32, l: vec2<u32>, sign: vec4<u32>, bitmap: vec4<u32>, held: Chunk) -> f32 {
  if (GROUP_WORDS >= 4u) {
    return multiplyWhole(l, sign, bitmap, held);
  }
  return multiplyChunk(min(row, op.rows - 1u), chunk, sign, bitmap, held);
}
fn sumQuarters(values: vec4<f32>, index: u32) -> f32 {
  let isUpper = (index & (OWN / 2u)) != 0u;
  let two = select(values.xy, values.zw, isUpper) + subgroupShuffleXor(select(values.zw, values.xy, isUpper), OWN / 2u);
  let isOdd = (index & (OWN / 4u)) != 0u;
  var one = select(two.x, two.y, isOdd) + subgroupShuffleXor(select(two.y, two.x, isOdd), OWN / 4u);
  for (var distance = 1u; distance < OWN / 4u; distance <<= 1u) {
    one += subgroupShuffleXor(one, distance);
  }
  return one;
}
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let token = workgroup.y;
  let lane = index % LANES;
  let team = index / LANES;
  let isUsed = lane < op.chunks;
  let chunk = min(lane, op.chunks - 1u);
  let base = op.codes + token * op.codesStride;
  let held = loadChunk(base, chunk);
  let scale = bitcast<vec2<f32>>(codes[base].xy);
  let step = counts.x * TEAMS * 4u;
  let ownFirst = (workgroup.x * TEAMS + team) * 4u;
  var next = loadBits(ownFirst, chunk);
  var parity = 0u;
  for (var start = workgroup.x * TEAMS * 4u; start < op.rows; start += step) {
    let first = start + team * 4u;
    let now = next;
    next = loadBits(first + step, chunk);
    var sums = vec4<f32>(
      multiplyHeld(first, chunk, now.l0, now.s0, now.m0, held),
      multiplyHeld(first + 1u, chunk, now.l1, now.s1, now.m1, held),
      multiplyHeld(first + 2u, chunk, now.l2, now.s2, now.m2, held),
      multiplyHeld(first + 3u, chunk, now.l3, now.s3, now.m3, held),
    );
    sums = select(vec4<f32>(0.0), sums, isUsed);
    var sum = sumQuarters(sums, index);
    let row = first + (index % OWN) / (OWN / 4u);
    var isWriter = index % (OWN / 4u) == 0u;
    if (SPLITS > 1u) {
      let own = ((parity * TEAMS + team) * 4u + (index % OWN) / (OWN / 4u)) * SPLITS;
      if (isWriter) {
        partial[own + lane / OWN] = sum;
      }
      workgroupBarrier();
      isWriter = isWriter && lane < OWN;
      if (isWriter) {
        sum = 0.0;
        for (var part = 0u; part < SPLITS; part++) {
          sum += partial[own + part];
        }
      }
      parity = 1u - parity;
    }
    if (isWriter && row < op.rows) {
      writeOut(token, row, keep(scale.y * sum + scale.x * rowSums[row]));
    }
  }
}`,
  'w11-sums': `#import common
#import w11-levels
#import lanes
struct Op {
  rows: u32,
  chunks: u32,
  groups: u32,
  bitmap: u32,
  columns: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> rowSums: array<f32>;
@group(0) @binding(4) var<storage, read> bits: array<u32>;
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let lane = index % LANES;
  let row = workgroup.x * (WORKGROUP / LANES) + index / LANES;
  let source = min(row, op.rows - 1u);
  let words = (op.columns + 31u) / 32u;
  var sum = 0.0;
  for (var group = lane; group < op.groups; group += LANES) {
    var counts = vec4<u32>(0u);
    for (var word = group * GROUP_WORDS; word < min((group + 1u) * GROUP_WORDS, words); word++) {
      let used = 0xffffffffu >> (32u - min(32u, op.columns - word * 32u));
      let at = source * op.chunks * 4u + word;
      let sign = bits[at] & used;
      let bitmap = bits[op.bitmap * 4u + at] & used;
      counts += countOneBits(vec4<u32>(used, sign, bitmap, sign & bitmap));
    }
    sum += dot(coefficients(source * op.groups + group), vec4<f32>(counts));
  }
  sum = sumLanes(sum, index);
  if (lane == 0u && row < op.rows) {
    rowSums[row] = sum;
  }
}`,
};

/** Changes with every kernel. */
export const SHADERS_VERSION = 'ac6d4f02b607e4df';
