// What gradients are multiplied by so that their norm is at most `most`, of the parts of its square. One workgroup.
#import common
#import reduce

fn main(index: i32) {
  var sum = 0.0;
  for (var i = u32(index); i < uniforms.count; i += THREADS) {
    sum += parts[i];
  }
  let norm = sqrt(reduceSum(sum, u32(index)));
  if (index == 0) {
    result[0] = select(1.0, uniforms.most / norm, norm > uniforms.most);
  }
}
