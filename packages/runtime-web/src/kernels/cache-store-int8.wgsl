// Codes of 8 bits, four to a word.
const LEVELS: u32 = 255u;
#import cache-codes

fn store(row: u32, quad: u32, x: vec4<f32>) {
  let base = row * (groupCount() + op.quads);
  let codes = encodeQuad(base, quad, x);
  if (quad < op.quads) {
    cache[base + groupCount() + quad] = codes.x | (codes.y << 8u) | (codes.z << 16u) | (codes.w << 24u);
  }
}
