// Sums over the LANES neighbouring threads that share rows, by shuffles, and in workgroup memory where a subgroup is smaller;
// every one of them gets the sum.
enable subgroups;

const SHUFFLED: u32 = min(LANES, SUBGROUP);
var<workgroup> lanePartial: array<f32, WORKGROUP / SHUFFLED>;

fn sumLanes(value: f32, index: u32) -> f32 {
  var sum = value;
  for (var distance = 1u; distance < SHUFFLED; distance <<= 1u) {
    sum += subgroupShuffleXor(sum, distance);
  }
  if (LANES > SHUFFLED) {
    if (index % SHUFFLED == 0u) {
      lanePartial[index / SHUFFLED] = sum;
    }
    workgroupBarrier();
    let first = (index - index % LANES) / SHUFFLED;
    sum = 0.0;
    for (var part = 0u; part < LANES / SHUFFLED; part++) {
      sum += lanePartial[first + part];
    }
    workgroupBarrier();
  }
  return sum;
}
