// The Walsh-Hadamard transform of values in workgroup memory (`tile`, by THREADS threads), up to three stages a pass: a thread takes
// eight values into registers, which leaves a third of the barriers and of the ways to memory. Sums are those of the format, in
// its order: pairs of places 1 apart, then 2, 4, and so on.

// Where values of the tile lie: 32 neighbouring threads find theirs in different banks of 32; in one pass two share a bank, where
// the number of stages is no multiple of three.
fn placesOf(i: vec4<u32>) -> vec4<u32> {
  return i ^ ((i >> vec4<u32>(5u)) & vec4<u32>(7u)) ^ ((i >> vec4<u32>(3u)) & vec4<u32>(24u));
}

fn placeOf(i: u32) -> u32 {
  return placesOf(vec4<u32>(i)).x;
}

// So many stages of the `count` values from `first` on: pairs of places `half` apart, then 2 half, then 4 half.
fn crossPass(first: u32, count: u32, half: u32, stages: u32, index: u32) {
  for (var unit = index; unit * 8u < count; unit += THREADS) {
    let start = first + ((unit & ~(half - 1u)) << 3u) + (unit & (half - 1u));
    let p = placesOf(vec4<u32>(start) + vec4<u32>(0u, 1u, 2u, 3u) * half);
    let q = placesOf(vec4<u32>(start) + vec4<u32>(4u, 5u, 6u, 7u) * half);
    var a = vec4<f32>(tile[p.x], tile[p.y], tile[p.z], tile[p.w]);
    var b = vec4<f32>(tile[q.x], tile[q.y], tile[q.z], tile[q.w]);
    a = vec4<f32>(a.x + a.y, a.x - a.y, a.z + a.w, a.z - a.w);
    b = vec4<f32>(b.x + b.y, b.x - b.y, b.z + b.w, b.z - b.w);
    if (stages > 1u) {
      a = vec4<f32>(a.xy + a.zw, a.xy - a.zw);
      b = vec4<f32>(b.xy + b.zw, b.xy - b.zw);
    }
    if (stages > 2u) {
      let sum = a + b;
      b = a - b;
      a = sum;
    }
    tile[p.x] = a.x;
    tile[p.y] = a.y;
    // A transform of fewer than eight values leaves those behind them alone.
    if (count > 2u) {
      tile[p.z] = a.z;
      tile[p.w] = a.w;
    }
    if (count > 4u) {
      tile[q.x] = b.x;
      tile[q.y] = b.y;
      tile[q.z] = b.z;
      tile[q.w] = b.w;
    }
  }
  workgroupBarrier();
}

// Of `count` values, a power of two, without the scale. The first pass takes what threes leave over.
fn transformTile(first: u32, count: u32, index: u32) {
  var stages = (countTrailingZeros(count) + 2u) % 3u + 1u;
  for (var half = 1u; half < count;) {
    crossPass(first, count, half, stages, index);
    half <<= stages;
    stages = 3u;
  }
}
