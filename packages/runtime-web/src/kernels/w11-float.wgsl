// W(1+1) times unquantized activations: every weight is one of its group's four levels. LANES threads share a row, each takes
// words of 32 columns; a row of the input at a time.
#import common
#import w11-levels
#import lanes

struct Op {
  rows: u32,
  chunks: u32,
  groups: u32,
  bitmap: u32,
  // Of a row of the input, in words of 16 bytes, and of the result, in floats.
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
    // Levels of s, m = 00, 10, 01, 11.
    let level = vec4<f32>(c.x, c.x + c.y, c.x + c.z, c.x + c.y + c.z + c.w);
    var part = 0.0;
    for (var quad = 0u; quad < 8u; quad++) {
      // Past the last column the input's row is filled up with zeros.
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
}
