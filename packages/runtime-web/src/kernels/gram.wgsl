// Adds to every sum over all runs of x[i] y[j] those of this run, a thread a sum. Between runs a sum is two f32, the second of
// which is what the first could not hold, as there is no double precision here.
#import common

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
  // Knuth's two-sum: what rounding took from the sum is the sum's own error, exactly.
  let high = keep(held.x + sum);
  let own = keep(high - held.x);
  let lost = keep(held.x - keep(high - own)) + keep(sum - own);
  // An infinite or broken sum has no error to keep.
  stats[at] = vec2<f32>(high, select(held.y + lost, 0.0, isBroken(bitcast<u32>(high))));
}
