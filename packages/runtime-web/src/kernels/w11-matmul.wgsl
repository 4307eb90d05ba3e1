// W(1+1) times 4-bit codes of many rows: tiles of 64 rows of weights by 64 rows of codes, 4 by 4 a thread, 128 columns at a time.
// Weights stay bits in workgroup memory; every masked sum is an exact integer until its group ends.
#import common
#import w11-outputs
#import w11-levels
#import w11-product
@group(0) @binding(3) var<storage, read> codes: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> bits: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> rowSums: array<f32>;

const TILE: u32 = 64u;
const QUADS: u32 = 16u;
const CHUNK_WORDS: u32 = 4u;
const SPAN: u32 = min(GROUP_WORDS, CHUNK_WORDS);
const SETS: u32 = CHUNK_WORDS / SPAN;

// [word][part][token quad], a word for each of 4 tokens.
var<workgroup> tileCodes: array<vec4<u32>, CHUNK_WORDS * PARTS * QUADS>;
// [sums of word][token quad]
var<workgroup> tileSums: array<vec4<u32>, CHUNK_WORDS * QUADS>;
// [plane][word][row quad]
var<workgroup> tileBits: array<vec4<u32>, 2u * CHUNK_WORDS * QUADS>;

fn loadCodes(unit: u32, chunk: u32, firstToken: u32) {
  let quad = unit % QUADS;
  let part = unit / QUADS;
  // The last unit of a token's chunk is its sums.
  let isSum = part == CHUNK_WORDS * CODE_QUADS;
  let perRow = select(1u + chunk * CHUNK_WORDS * CODE_QUADS + part, 1u + op.chunks * CHUNK_WORDS * CODE_QUADS + chunk, isSum);
  var loaded: array<vec4<u32>, 4>;
  for (var t = 0u; t < 4u; t++) {
    loaded[t] = codes[op.codes + min(firstToken + quad * 4u + t, run.rows - 1u) * op.codesStride + perRow];
  }
  for (var i = 0u; i < 4u; i++) {
    let across = vec4<u32>(loaded[0][i], loaded[1][i], loaded[2][i], loaded[3][i]);
    if (isSum) {
      tileSums[i * QUADS + quad] = across;
    } else {
      tileCodes[(part * 4u + i) * QUADS + quad] = across;
    }
  }
}

fn loadBits(unit: u32, chunk: u32, firstRow: u32) {
  let quad = unit % QUADS;
  let plane = unit / QUADS;
  var loaded: array<vec4<u32>, 4>;
  for (var r = 0u; r < 4u; r++) {
    loaded[r] = bits[plane * op.bitmap + min(firstRow + quad * 4u + r, op.rows - 1u) * op.chunks + chunk];
  }
  for (var i = 0u; i < CHUNK_WORDS; i++) {
    tileBits[(plane * CHUNK_WORDS + i) * QUADS + quad] = vec4<u32>(loaded[0][i], loaded[1][i], loaded[2][i], loaded[3][i]);
  }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let firstRow = workgroup.x * TILE;
  let firstToken = workgroup.y * TILE;
  let rowQuad = index % QUADS;
  let tokenQuad = index / QUADS;
  // Of each of 4 rows of weights, for 4 tokens.
  var sums: array<vec4<f32>, 4>;
  for (var chunk = 0u; chunk < op.chunks; chunk++) {
    for (var unit = index; unit < (CHUNK_WORDS * CODE_QUADS + 1u) * QUADS; unit += 256u) {
      loadCodes(unit, chunk, firstToken);
    }
    if (index < 2u * QUADS) {
      loadBits(index, chunk, firstRow);
    }
    workgroupBarrier();
    for (var section = 0u; section < SETS; section++) {
      var s = array<vec4<u32>, 4>();
      var m = array<vec4<u32>, 4>();
      var both = array<vec4<u32>, 4>();
      var plain = vec4<u32>(0u);
      for (var i = 0u; i < SPAN; i++) {
        let word = section * SPAN + i;
        let sign = tileBits[word * QUADS + rowQuad];
        let bitmap = tileBits[(CHUNK_WORDS + word) * QUADS + rowQuad];
        plain += tileSums[word * QUADS + tokenQuad];
        for (var part = 0u; part < PARTS; part++) {
          let a = tileCodes[(word * PARTS + part) * QUADS + tokenQuad];
          let signPart = maskPart(sign, part);
          let bitmapPart = maskPart(bitmap, part);
          let bothPart = signPart & bitmapPart;
          for (var r = 0u; r < 4u; r++) {
            s[r] += multiplyPart(signPart[r], a, part);
            m[r] += multiplyPart(bitmapPart[r], a, part);
            both[r] += multiplyPart(bothPart[r], a, part);
          }
        }
      }
      let group = min((chunk * CHUNK_WORDS + section * SPAN) / GROUP_WORDS, op.groups - 1u);
      for (var r = 0u; r < 4u; r++) {
        let c = coefficients(min(firstRow + rowQuad * 4u + r, op.rows - 1u) * op.groups + group);
        // A power of two: the products stay exact integers times it.
        let scaled = c.yzw * PART_SCALE;
        sums[r] += c.x * vec4<f32>(plain) + scaled.x * vec4<f32>(s[r]) + scaled.y * vec4<f32>(m[r]) + scaled.z * vec4<f32>(both[r]);
      }
    }
    workgroupBarrier();
  }
  for (var t = 0u; t < 4u; t++) {
    let token = firstToken + tokenQuad * 4u + t;
    if (token >= run.rows) {
      break;
    }
    let scale = bitcast<vec2<f32>>(codes[op.codes + token * op.codesStride].xy);
    for (var r = 0u; r < 4u; r++) {
      let row = firstRow + rowQuad * 4u + r;
      if (row < op.rows) {
        writeOut(token, row, keep(scale.y * sums[r][t] + scale.x * rowSums[row]));
      }
    }
  }
}
