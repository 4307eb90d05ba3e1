// Masked sums of codes by counts of bits; codes as codes-bits.wgsl writes them.
#import w11-chunk-type
const CODE_QUADS: u32 = 1u;
const CODE_WORDS: u32 = 4u;

struct Masked {
  sums: vec3<u32>,
}

fn countMasked(bits: u32, planes: vec4<u32>) -> u32 {
  return dot(countOneBits(vec4<u32>(bits) & planes), vec4<u32>(1u, 2u, 4u, 8u));
}

// Adds the sums over s, over m and over both of 32 columns.
fn addWord(sums: Masked, s: u32, m: u32, planes: vec4<u32>, unused: vec4<u32>) -> Masked {
  return Masked(sums.sums + vec3<u32>(countMasked(s, planes), countMasked(m, planes), countMasked(s & m, planes)));
}

fn resolve(sums: Masked) -> vec3<u32> {
  return sums.sums;
}

// Over four words: three of them are added bit by bit first, as counting is slower than logic.
fn countQuad(mask: vec4<u32>, a: Chunk) -> u32 {
  let x = vec4<u32>(mask.x) & a.a0;
  let y = vec4<u32>(mask.y) & a.a1;
  let z = vec4<u32>(mask.z) & a.a2;
  let odd = x ^ y;
  let carry = (x & y) | (odd & z);
  let counts = countOneBits(odd ^ z) + countOneBits(vec4<u32>(mask.w) & a.a3) + 2u * countOneBits(carry);
  return dot(counts, vec4<u32>(1u, 2u, 4u, 8u));
}

// Of a whole chunk.
fn multiplyQuad(sign: vec4<u32>, bitmap: vec4<u32>, a: Chunk) -> vec3<u32> {
  return vec3<u32>(countQuad(sign, a), countQuad(bitmap, a), countQuad(sign & bitmap, a));
}

// For tiles: 32 columns have PARTS words of codes, the bit planes.
const PARTS: u32 = 4u;
const PART_SCALE: f32 = 1.0;

fn maskPart(bits: vec4<u32>, part: u32) -> vec4<u32> {
  return bits;
}

fn multiplyPart(mask: u32, codes: vec4<u32>, part: u32) -> vec4<u32> {
  return countOneBits(vec4<u32>(mask) & codes) << vec4<u32>(part);
}
