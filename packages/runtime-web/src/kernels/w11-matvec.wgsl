// W(1+1) times 4-bit codes, a row of codes at a time. LANES threads share ROWS (1, 2 or 4) rows of weights; each takes chunks of
// 128 columns, whose codes it loads once for all its rows. GROUP_WORDS words of 32 columns are a group.
#import common
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
}
