// The sum of each row's decoded weights, once, when weights are loaded: 8 threads a row.
#import common
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
      // Bits past the last column are no weights.
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
}
