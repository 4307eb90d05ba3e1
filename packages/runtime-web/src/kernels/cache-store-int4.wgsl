// Codes of 4 bits, eight to a word, which two threads make.
const LEVELS: u32 = 15u;
#import cache-codes
var<workgroup> quarters: array<u32, THREADS>;

fn store(row: u32, quad: u32, x: vec4<f32>) {
  let base = row * (groupCount() + (op.quads + 1u) / 2u);
  let codes = encodeQuad(base, quad, x);
  quarters[quad] = codes.x | (codes.y << 4u) | (codes.z << 8u) | (codes.w << 12u);
  workgroupBarrier();
  if (quad < op.quads && quad % 2u == 0u) {
    cache[base + groupCount() + quad / 2u] = quarters[quad] | (quarters[quad + 1u] << 16u);
  }
}
