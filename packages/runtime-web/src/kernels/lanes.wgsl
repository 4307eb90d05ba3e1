// Sums over the LANES neighbouring threads that share rows; every one of them gets the sum.
var<workgroup> lanePartial: array<f32, WORKGROUP>;

fn sumLanes(value: f32, index: u32) -> f32 {
  if (LANES == 1u) {
    return value;
  }
  lanePartial[index] = value;
  workgroupBarrier();
  for (var width = LANES / 2u; width > 0u; width >>= 1u) {
    if (index % LANES < width) {
      lanePartial[index] += lanePartial[index + width];
    }
    workgroupBarrier();
  }
  let sum = lanePartial[index - index % LANES];
  workgroupBarrier();
  return sum;
}
