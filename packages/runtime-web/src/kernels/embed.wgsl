// Rows of an embedding by token id, a thread a quad of columns.
#import common
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
}
