// The gradient of levels: of each group the sums over the weights at each of its four levels. A workgroup a group.
var<workgroup> sums: array<vec4<f32>, THREADS>;

fn main(index: i32) {
  let group = u32(index) / THREADS;
  let thread = u32(index) % THREADS;
  let begin = (group % uniforms.groups) * uniforms.groupSize;
  let end = min(uniforms.columns, begin + uniforms.groupSize);
  let row = (group / uniforms.groups) * uniforms.columns;
  var own = vec4<f32>(0.0);
  if (group < uniforms.count) {
    for (var k = begin + thread; k < end; k += THREADS) {
      let choice = choiceOf(row + k, 4u * group);
      own += select(vec4<f32>(0.0), vec4<f32>(gradient[row + k]), vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(choice));
    }
  }
  sums[thread] = own;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width >>= 1u) {
    if (thread < width) {
      sums[thread] += sums[thread + width];
    }
    workgroupBarrier();
  }
  if (thread < 4u && group < uniforms.count) {
    result[4u * group + thread] = sums[0][thread];
  }
}
