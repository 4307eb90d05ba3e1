// An RMS norm alone, one workgroup a row.
#import common
#import reduce

struct Op {
  out: u32,
  stride: u32,
  width: u32,
  input: u32,
  epsilon: f32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(4) var<storage, read> normWeight: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let base = op.input + group.y * op.stride;
  var squares = 0.0;
  for (var k = index; k < op.width; k += THREADS) {
    let x = floats[base + k];
    squares = fma(x, x, squares);
  }
  let mean = reduceSum(squares, index) / f32(op.width);
  let scale = inverseSqrt(mean + op.epsilon);
  for (var k = index; k < op.width; k += THREADS) {
    floats[op.out + group.y * op.stride + k] = floats[base + k] * scale * normWeight[k];
  }
}
