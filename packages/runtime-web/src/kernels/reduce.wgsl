// Sums and extremes over the THREADS threads of a workgroup, a power of two.
var<workgroup> reduced: array<vec2<u32>, THREADS>;

fn reduceSum(value: f32, index: u32) -> f32 {
  reduced[index].x = bitcast<u32>(value);
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let sum = bitcast<f32>(reduced[index].x) + bitcast<f32>(reduced[index + width].x);
      reduced[index].x = bitcast<u32>(sum);
    }
    workgroupBarrier();
  }
  let sum = bitcast<f32>(workgroupUniformLoad(&reduced[0]).x);
  return sum;
}

// Least of x, most of y.
fn reduceRange(value: vec2<u32>, index: u32) -> vec2<u32> {
  reduced[index] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (index < width) {
      let other = reduced[index + width];
      reduced[index] = vec2<u32>(min(reduced[index].x, other.x), max(reduced[index].y, other.y));
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&reduced[0]);
}
