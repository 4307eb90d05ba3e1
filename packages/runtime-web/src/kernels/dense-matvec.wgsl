// Dense or integer weights times a row of f32. LANES threads share ROWS rows of weights; each takes chunks of 16 bytes, whose
// inputs it loads once for all its rows.
#import common
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
}
