// Masked sums of codes by packed dot products; codes as codes-dot.wgsl writes them. Bits are used where they are: mask 2^i of
// byte b is the bit of column i + 8 b. With the factors of codes, the first four words give 8 times a sum, the others 128 times.
#import w11-chunk-type
const CODE_QUADS: u32 = 2u;
const CODE_WORDS: u32 = 8u;

struct Masked {
  low: vec3<u32>,
  high: vec3<u32>,
}

fn dotMasked(bits: u32, mask: u32, codes: vec4<u32>) -> u32 {
  return dot4U8Packed(bits & mask, codes.x)
    + dot4U8Packed(bits & (mask << 1u), codes.y)
    + dot4U8Packed(bits & (mask << 2u), codes.z)
    + dot4U8Packed(bits & (mask << 3u), codes.w);
}

// Adds the sums over s, over m and over both of 32 columns.
fn addWord(sums: Masked, s: u32, m: u32, first: vec4<u32>, second: vec4<u32>) -> Masked {
  let both = s & m;
  let low = vec3<u32>(
    dotMasked(s, 0x01010101u, first),
    dotMasked(m, 0x01010101u, first),
    dotMasked(both, 0x01010101u, first),
  );
  let high = vec3<u32>(
    dotMasked(s, 0x10101010u, second),
    dotMasked(m, 0x10101010u, second),
    dotMasked(both, 0x10101010u, second),
  );
  return Masked(sums.low + low, sums.high + high);
}

fn resolve(sums: Masked) -> vec3<u32> {
  return (sums.low >> vec3<u32>(3u)) + (sums.high >> vec3<u32>(7u));
}

// Of a whole chunk.
fn multiplyQuad(sign: vec4<u32>, bitmap: vec4<u32>, a: Chunk) -> vec3<u32> {
  var masked = addWord(Masked(), sign.x, bitmap.x, a.a0, a.b0);
  masked = addWord(masked, sign.y, bitmap.y, a.a1, a.b1);
  masked = addWord(masked, sign.z, bitmap.z, a.a2, a.b2);
  masked = addWord(masked, sign.w, bitmap.w, a.a3, a.b3);
  return resolve(masked);
}

// For tiles: 32 columns have PARTS words of codes; masks are moved so that every part has the same factor, 1 / PART_SCALE.
const PARTS: u32 = 8u;
const PART_SCALE: f32 = 0.0078125;

fn maskPart(bits: vec4<u32>, part: u32) -> vec4<u32> {
  let own = bits & vec4<u32>(0x01010101u << part);
  return own << vec4<u32>(select(0u, 4u, part < 4u));
}

fn multiplyPart(mask: u32, codes: vec4<u32>, part: u32) -> vec4<u32> {
  return vec4<u32>(
    dot4U8Packed(mask, codes.x),
    dot4U8Packed(mask, codes.y),
    dot4U8Packed(mask, codes.z),
    dot4U8Packed(mask, codes.w),
  );
}
