// W(1+1) times one row of 4-bit codes after the other, for many rows of weights: LANES threads share four rows at a time, each
// has one chunk of 128 columns, whose codes stay in registers, and goes on to the next four rows, whose bits are on their way
// already. Threads past the last chunk rest.
#import common
#import w11-outputs
#import w11-chunk
enable subgroups;

// Threads of one subgroup that share rows, and how many such parts a row has.
const OWN: u32 = min(LANES, SUBGROUP);
const SPLITS: u32 = LANES / OWN;
const TEAMS: u32 = WORKGROUP / LANES;

// Of two steps in turn: [team][row][part].
var<workgroup> partial: array<f32, 2u * TEAMS * 4u * SPLITS>;

struct Bits {
  s0: vec4<u32>,
  m0: vec4<u32>,
  s1: vec4<u32>,
  m1: vec4<u32>,
  s2: vec4<u32>,
  m2: vec4<u32>,
  s3: vec4<u32>,
  m3: vec4<u32>,
  // Of the first group of the chunk.
  l0: vec2<u32>,
  l1: vec2<u32>,
  l2: vec2<u32>,
  l3: vec2<u32>,
}

fn loadBits(first: u32, chunk: u32) -> Bits {
  let last = op.rows - 1u;
  let rows = min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(last));
  let at = rows * op.chunks + vec4<u32>(chunk);
  let m = at + vec4<u32>(op.bitmap);
  return Bits(
    bits[at.x],
    bits[m.x],
    bits[at.y],
    bits[m.y],
    bits[at.z],
    bits[m.z],
    bits[at.w],
    bits[m.w],
    loadLevels(groupOf(rows.x, chunk)),
    loadLevels(groupOf(rows.y, chunk)),
    loadLevels(groupOf(rows.z, chunk)),
    loadLevels(groupOf(rows.w, chunk)),
  );
}

fn multiplyHeld(row: u32, chunk: u32, l: vec2<u32>, sign: vec4<u32>, bitmap: vec4<u32>, held: Chunk) -> f32 {
  if (GROUP_WORDS >= 4u) {
    return multiplyWhole(l, sign, bitmap, held);
  }
  return multiplyChunk(min(row, op.rows - 1u), chunk, sign, bitmap, held);
}

// The sums over OWN threads of four values: of each for a quarter of the threads, in order.
fn sumQuarters(values: vec4<f32>, index: u32) -> f32 {
  let isUpper = (index & (OWN / 2u)) != 0u;
  let two = select(values.xy, values.zw, isUpper) + subgroupShuffleXor(select(values.zw, values.xy, isUpper), OWN / 2u);
  let isOdd = (index & (OWN / 4u)) != 0u;
  var one = select(two.x, two.y, isOdd) + subgroupShuffleXor(select(two.y, two.x, isOdd), OWN / 4u);
  for (var distance = 1u; distance < OWN / 4u; distance <<= 1u) {
    one += subgroupShuffleXor(one, distance);
  }
  return one;
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) counts: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let token = workgroup.y;
  let lane = index % LANES;
  let team = index / LANES;
  let isUsed = lane < op.chunks;
  let chunk = min(lane, op.chunks - 1u);
  let base = op.codes + token * op.codesStride;
  let held = loadChunk(base, chunk);
  let scale = bitcast<vec2<f32>>(codes[base].xy);
  let step = counts.x * TEAMS * 4u;
  let ownFirst = (workgroup.x * TEAMS + team) * 4u;
  var next = loadBits(ownFirst, chunk);
  var parity = 0u;
  for (var start = workgroup.x * TEAMS * 4u; start < op.rows; start += step) {
    let first = start + team * 4u;
    let now = next;
    next = loadBits(first + step, chunk);
    var sums = vec4<f32>(
      multiplyHeld(first, chunk, now.l0, now.s0, now.m0, held),
      multiplyHeld(first + 1u, chunk, now.l1, now.s1, now.m1, held),
      multiplyHeld(first + 2u, chunk, now.l2, now.s2, now.m2, held),
      multiplyHeld(first + 3u, chunk, now.l3, now.s3, now.m3, held),
    );
    sums = select(vec4<f32>(0.0), sums, isUsed);
    var sum = sumQuarters(sums, index);
    let row = first + (index % OWN) / (OWN / 4u);
    var isWriter = index % (OWN / 4u) == 0u;
    if (SPLITS > 1u) {
      let own = ((parity * TEAMS + team) * 4u + (index % OWN) / (OWN / 4u)) * SPLITS;
      if (isWriter) {
        partial[own + lane / OWN] = sum;
      }
      workgroupBarrier();
      isWriter = isWriter && lane < OWN;
      if (isWriter) {
        sum = 0.0;
        for (var part = 0u; part < SPLITS; part++) {
          sum += partial[own + part];
        }
      }
      parity = 1u - parity;
    }
    if (isWriter && row < op.rows) {
      writeOut(token, row, keep(scale.y * sum + scale.x * rowSums[row]));
    }
  }
}
