// Sums and extremes over the THREADS threads of a workgroup, a power of two: within subgroups first, then over what each of them has.
enable subgroups;

const PARTS: u32 = THREADS / SUBGROUP;
var<workgroup> reduced: array<vec2<u32>, PARTS>;

fn reduceSum(value: f32, index: u32) -> f32 {
  var sum = value;
  for (var distance = 1u; distance < SUBGROUP; distance <<= 1u) {
    sum += subgroupShuffleXor(sum, distance);
  }
  if (index % SUBGROUP == 0u) {
    reduced[index / SUBGROUP].x = bitcast<u32>(sum);
  }
  workgroupBarrier();
  if (PARTS <= SUBGROUP) {
    sum = bitcast<f32>(reduced[index % PARTS].x);
    for (var distance = 1u; distance < PARTS; distance <<= 1u) {
      sum += subgroupShuffleXor(sum, distance);
    }
  } else {
    sum = 0.0;
    for (var part = 0u; part < PARTS; part++) {
      sum += bitcast<f32>(reduced[part].x);
    }
  }
  workgroupBarrier();
  return sum;
}

// Least of x, most of y.
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  var range = value;
  for (var distance = 1u; distance < SUBGROUP; distance <<= 1u) {
    let other = subgroupShuffleXor(range, distance);
    range = vec2<u32>(min(range.x, other.x), max(range.y, other.y));
  }
  if (index % SUBGROUP == 0u) {
    reduced[index / SUBGROUP] = range;
  }
  workgroupBarrier();
  if (PARTS <= SUBGROUP) {
    range = reduced[index % PARTS];
    for (var distance = 1u; distance < PARTS; distance <<= 1u) {
      let other = subgroupShuffleXor(range, distance);
      range = vec2<u32>(min(range.x, other.x), max(range.y, other.y));
    }
  } else {
    for (var part = 0u; part < PARTS; part++) {
      range = vec2<u32>(min(range.x, reduced[part].x), max(range.y, reduced[part].y));
    }
  }
  workgroupBarrier();
  return range;
}
