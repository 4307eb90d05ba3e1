// W(1+1) times 4-bit codes, a row of codes at a time. LANES threads share ROWS (1, 2 or 4) rows of weights; each takes chunks of
// 128 columns, whose codes it loads once for all its rows. GROUP_WORDS words of 32 columns are a group. Written out instead of
// looped over, so that everything stays in registers.
#import common
#import w11-outputs
#import w11-levels
#import w11-product
#import lanes
@group(0) @binding(3) var<storage, read> codes: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> bits: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> rowSums: array<f32>;

// Codes of four words, in one or two quads each, and their sums.
struct Chunk {
  a0: vec4<u32>,
  b0: vec4<u32>,
  a1: vec4<u32>,
  b1: vec4<u32>,
  a2: vec4<u32>,
  b2: vec4<u32>,
  a3: vec4<u32>,
  b3: vec4<u32>,
  sums: vec4<u32>,
}

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

// Of the group that the words up to `word` of a chunk end. Columns past the last one have no group; their codes are 0.
fn endGroup(row: u32, chunk: u32, word: u32, masked: Masked, plain: u32) -> f32 {
  let group = min((chunk * 4u + word) / GROUP_WORDS, op.groups - 1u);
  let c = coefficients(row * op.groups + group);
  let exact = vec3<f32>(resolve(masked));
  return c.x * f32(plain) + c.y * exact.x + c.z * exact.y + c.w * exact.z;
}

fn multiplyChunk(row: u32, chunk: u32, a: Chunk) -> f32 {
  let at = row * op.chunks + chunk;
  let sign = bits[at];
  let bitmap = bits[op.bitmap + at];
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
  if (GROUP_WORDS <= 2u) {
    sum += endGroup(row, chunk, 1u, masked, plain);
    masked = none;
    plain = 0u;
  }
  masked = addWord(masked, sign.z, bitmap.z, a.a2, a.b2);
  plain += a.sums.z;
  if (GROUP_WORDS == 1u) {
    sum += endGroup(row, chunk, 2u, masked, plain);
    masked = none;
    plain = 0u;
  }
  masked = addWord(masked, sign.w, bitmap.w, a.a3, a.b3);
  plain += a.sums.w;
  return sum + endGroup(row, chunk, 3u, masked, plain);
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
    sums.x += multiplyChunk(min(first, last), chunk, held);
    if (ROWS > 1u) {
      sums.y += multiplyChunk(min(first + 1u, last), chunk, held);
    }
    if (ROWS > 2u) {
      sums.z += multiplyChunk(min(first + 2u, last), chunk, held);
      sums.w += multiplyChunk(min(first + 3u, last), chunk, held);
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
