// The run.top largest of a row of logits, in no order: every workgroup finds those of a part; a second pass finds those of theirs.
// A candidate is a key in the order of unsigned integers and its place with all bits turned, so that of equal ones the first is the
// largest; (0, 0) is none. The least of those wanted is found digit by digit, 8 bits at a time, by counting how many candidates
// that agree with it so far have which digit next.
#import common
#import logit-key

struct Op {
  // In floats; the first pass reads it.
  logits: u32,
  width: u32,
  // Logits that a workgroup looks at.
  part: u32,
  // In codes: what the first pass finds, from how many parts, and where the result goes.
  candidates: u32,
  count: u32,
  result: u32,
}
@group(0) @binding(1) var<uniform> op: Op;
@group(0) @binding(2) var<storage, read_write> floats: array<f32>;
@group(0) @binding(3) var<storage, read_write> codes: array<u32>;

const THREADS: u32 = 256u;
var<workgroup> counts: array<atomic<u32>, 256>;
// Of each digit: how many candidates have it or a larger one.
var<workgroup> reaching: array<u32, 256>;
// The digit, how many have a larger one, and how many have it.
var<workgroup> found: vec3<u32>;
var<workgroup> filled: atomic<u32>;

var<private> isFirst: bool;
// Of the candidates: the first one's place among logits, or in codes.
var<private> start: u32;

fn candidateAt(i: u32) -> vec2<u32> {
  if (isFirst) {
    return vec2<u32>(keyOf(floats[op.logits + start + i]), ~(start + i));
  }
  return vec2<u32>(codes[start + 2u * i], codes[start + 2u * i + 1u]);
}

// The least of the `wanted` largest of more candidates than that, as far as it has to be known: all others are less.
fn findLeast(count: u32, wanted: u32, index: u32) -> vec2<u32> {
  var least = vec2<u32>(0u);
  var left = wanted;
  for (var digit = 0u; digit < 8u; digit++) {
    let word = digit / 4u;
    let shift = 24u - 8u * (digit % 4u);
    let known = ~(0xffffffffu >> (8u * (digit % 4u)));
    let mask = select(vec2<u32>(0xffffffffu, known), vec2<u32>(known, 0u), word == 0u);
    atomicStore(&counts[index], 0u);
    workgroupBarrier();
    for (var i = index; i < count; i += THREADS) {
      let one = candidateAt(i);
      if (all((one & mask) == least)) {
        atomicAdd(&counts[(one[word] >> shift) & 255u], 1u);
      }
    }
    workgroupBarrier();
    let own = atomicLoad(&counts[index]);
    reaching[index] = own;
    workgroupBarrier();
    for (var distance = 1u; distance < 256u; distance <<= 1u) {
      var further = 0u;
      if (index + distance < 256u) {
        further = reaching[index + distance];
      }
      workgroupBarrier();
      reaching[index] += further;
      workgroupBarrier();
    }
    let larger = reaching[index] - own;
    if (larger < left && reaching[index] >= left) {
      found = vec3<u32>(index, larger, own);
    }
    let one = workgroupUniformLoad(&found);
    least[word] |= one.x << shift;
    left -= one.y;
    if (one.z == left) {
      break;
    }
  }
  return least;
}

// Writes the `wanted` largest candidates, or all there are and (0, 0) for the others.
fn selectTop(count: u32, out: u32, index: u32) {
  let wanted = run.top;
  var least = vec2<u32>(0u);
  if (count > wanted) {
    least = findLeast(count, wanted, index);
  }
  if (index == 0u) {
    atomicStore(&filled, 0u);
  }
  workgroupBarrier();
  for (var i = index; i < count; i += THREADS) {
    let one = candidateAt(i);
    if (one.x > least.x || (one.x == least.x && one.y >= least.y)) {
      let at = out + 2u * atomicAdd(&filled, 1u);
      codes[at] = one.x;
      codes[at + 1u] = one.y;
    }
  }
  for (var i = count + index; i < wanted; i += THREADS) {
    codes[out + 2u * i] = 0u;
    codes[out + 2u * i + 1u] = 0u;
  }
}

@compute @workgroup_size(256)
fn first(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let begin = group.x * op.part;
  isFirst = true;
  start = begin;
  selectTop(min(op.part, op.width - begin), op.candidates + 2u * run.top * group.x, index);
}

@compute @workgroup_size(256)
fn second(@builtin(local_invocation_index) index: u32) {
  isFirst = false;
  start = op.candidates;
  selectTop(op.count * run.top, op.result, index);
}
