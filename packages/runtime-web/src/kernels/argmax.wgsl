// The largest of a row of logits, the first of equal ones: every workgroup looks at a part; a second pass looks at their results.
// A candidate is a value in the order of unsigned integers, and its place.
#import common
#import logit-key

struct Op {
  // In floats; the first pass reads it.
  logits: u32,
  width: u32,
  // Values that a workgroup looks at.
  part: u32,
  // In codes: candidates of the first pass, how many there are, and where the best goes.
  candidates: u32,
  count: u32,
  result: u32,
  // Where its place goes besides, as the token of the next run; 0xffffffff: nowhere.
  next: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(3) var<storage, read_write> codes: array<u32>;

const THREADS: u32 = 256u;
var<workgroup> best: array<vec2<u32>, THREADS>;

fn better(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return select(b, a, a.x > b.x || (a.x == b.x && a.y <= b.y));
}

fn reduceBest(own: vec2<u32>, index: u32) -> vec2<u32> {
  best[index] = own;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      best[index] = better(best[index], best[index + width]);
    }
    workgroupBarrier();
  }
  return best[0];
}

@compute @workgroup_size(256)
fn first(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  var own = vec2<u32>(0u, 0xffffffffu);
  let start = group.x * op.part;
  for (var k = start + index; k < min(start + op.part, op.width); k += THREADS) {
    own = better(own, vec2<u32>(keyOf(floats[op.logits + k]), k));
  }
  own = reduceBest(own, index);
  if (index == 0u) {
    codes[op.candidates + 2u * group.x] = own.x;
    codes[op.candidates + 2u * group.x + 1u] = own.y;
  }
}

@compute @workgroup_size(256)
fn second(@builtin(local_invocation_index) index: u32) {
  var own = vec2<u32>(0u, 0xffffffffu);
  for (var i = index; i < op.count; i += THREADS) {
    own = better(own, vec2<u32>(codes[op.candidates + 2u * i], codes[op.candidates + 2u * i + 1u]));
  }
  own = reduceBest(own, index);
  if (index == 0u) {
    codes[op.result] = own.x;
    codes[op.result + 1u] = own.y;
    if (op.next != 0xffffffffu) {
      codes[op.next] = own.y;
    }
  }
}
