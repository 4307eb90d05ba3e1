// A chunk of 128 columns: its codes, held by a thread, times its bits of one row of weights. Written out instead of looped over, so
// that everything stays in registers.
#import w11-levels
#import w11-product
@group(0) @binding(3) var<storage, read> codes: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> bits: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> rowSums: array<f32>;

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

fn combine(c: vec4<f32>, plain: u32, masked: vec3<u32>) -> f32 {
  let exact = vec3<f32>(masked);
  return c.x * f32(plain) + c.y * exact.x + c.z * exact.y + c.w * exact.z;
}

// Of the group that the words up to `word` of a chunk end. Columns past the last one have no group; their codes are 0.
fn endGroup(row: u32, chunk: u32, word: u32, masked: Masked, plain: u32) -> f32 {
  let group = min((chunk * 4u + word) / GROUP_WORDS, op.groups - 1u);
  return combine(coefficients(row * op.groups + group), plain, resolve(masked));
}

// Of the first group of a chunk.
fn groupOf(row: u32, chunk: u32) -> u32 {
  return row * op.groups + chunk * 4u / GROUP_WORDS;
}

// A chunk that is one group, or a part of one.
fn multiplyWhole(levelWords: vec2<u32>, sign: vec4<u32>, bitmap: vec4<u32>, a: Chunk) -> f32 {
  let plain = a.sums.x + a.sums.y + a.sums.z + a.sums.w;
  return combine(coefficientsOf(levelWords), plain, multiplyQuad(sign, bitmap, a));
}

fn multiplyChunk(row: u32, chunk: u32, sign: vec4<u32>, bitmap: vec4<u32>, a: Chunk) -> f32 {
  if (GROUP_WORDS >= 4u) {
    return multiplyWhole(loadLevels(groupOf(row, chunk)), sign, bitmap, a);
  }
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
  sum += endGroup(row, chunk, 1u, masked, plain);
  masked = addWord(none, sign.z, bitmap.z, a.a2, a.b2);
  plain = a.sums.z;
  if (GROUP_WORDS == 1u) {
    sum += endGroup(row, chunk, 2u, masked, plain);
    masked = none;
    plain = 0u;
  }
  masked = addWord(masked, sign.w, bitmap.w, a.a3, a.b3);
  plain += a.sums.w;
  return sum + endGroup(row, chunk, 3u, masked, plain);
}
