// Codes of a row of a cache, docs/numerics.md "KV cache": every 32 dimensions, eight threads, share an offset and a step, which come
// first in the row, a word each; LEVELS is the largest code. All threads of the workgroup take part.
#import round-half
#import halves
#import divide
#import nearest-code
@group(0) @binding(4) var<storage, read_write> cache: array<u32>;

// Larger than any value that is limited to what f16 holds: a group with it is broken.
const BROKEN: f32 = 1e30;
var<workgroup> ranges: array<vec2<f32>, THREADS>;

fn groupCount() -> u32 {
  return (op.quads + 7u) / 8u;
}

// Writes the group's word at the row's beginning, `base`, and gives the quad's codes; 0 past the last dimension.
fn encodeQuad(base: u32, quad: u32, x: vec4<f32>) -> vec4<u32> {
  let size = select(0u, min(4u, op.headSize - quad * 4u), quad < op.quads);
  let limited = clamp(x, vec4<f32>(-65504.0), vec4<f32>(65504.0));
  var range = vec2<f32>(BROKEN, -BROKEN);
  for (var j = 0u; j < size; j++) {
    let value = select(limited[j], BROKEN, isBroken(bitcast<u32>(x[j])));
    range = vec2<f32>(min(range.x, value), max(range.y, value));
  }
  ranges[quad] = range;
  workgroupBarrier();
  let first = quad - quad % 8u;
  for (var i = 0u; i < 8u; i++) {
    let other = ranges[first + i];
    range = vec2<f32>(min(range.x, other.x), max(range.y, other.y));
  }
  var lowest = roundHalf(range.x);
  let offset = halfOf(lowest);
  let extent = range.y - offset;
  var step = 0u;
  if (extent > 0.0) {
    step = roundHalf(divide(extent, f32(LEVELS)));
  }
  let isWhole = range.y < BROKEN;
  if (quad % 8u == 0u && size > 0u) {
    cache[base + quad / 8u] = select(0x7e007e00u, lowest | (step << 16u), isWhole);
  }
  var codes = vec4<u32>(0u);
  if (isWhole && step > 0u) {
    for (var j = 0u; j < size; j++) {
      codes[j] = nearestCode(limited[j] - offset, halfOf(step), LEVELS);
    }
  }
  return codes;
}
