// Dynamic 4-bit codes of a row, docs/numerics.md "Activations", one workgroup a row; what fills the row comes before (row-*.wgsl),
// and its rotation, if it has one (rotation-*.wgsl). A row of codes is, in words of 32 bits: lo, step, 0, 0; the codes (codes-*.wgsl); the sum of the
// codes of every 32 columns. Every thread holds HELD times four values, of columns that make a word of codes, from the first
// to the last step, so that the row is read once. WIDTH columns are BLOCKS times 32, or less in the last.
#import common
#import divide
#import nearest-code
#import tiny
#import reduce
#import held
#import row
#import rotation
#import codes

struct Op {
  // Of the row that is quantized, in floats.
  input: u32,
  stride: u32,
  // Of the codes, in words.
  out: u32,
  outStride: u32,
  clipLow: f32,
  clipHigh: f32,
  // Of what fills the row.
  first: u32,
  second: u32,
  epsilon: f32,
  // Of the row before its rotation, in floats.
  filled: u32,
  // Of the rotation: values of a transform, and the scale after it.
  span: u32,
  scale: f32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(3) var<storage, read_write> codes: array<u32>;

// f32 in the order of unsigned integers.
fn ordered(bits: u32) -> u32 {
  return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}

// The code of x, that is (x - lo) / step rounded to f32 and then to an integer, ties to even, within 0 and 15.
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
// Whether all values are below 2^-100.
var<private> rowIsTiny: bool;

// 0 past the last column.
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
}
