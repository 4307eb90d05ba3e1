// The rotation of a row, docs/format.md "Input rotations", one workgroup a row: signs, a Walsh-Hadamard transform of the first
// `span` values, and where that is not all, other signs and a transform of the last. Stages within 4096 values run in
// workgroup memory, larger ones on the row.
#import common
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

// Of a pair whose lower place has the bit `half` clear.
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
}
