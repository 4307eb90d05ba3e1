// The gradient of the student's logits: (softmax(student) - softmax(teacher)) * g[row], with what `distillation` says of the row.
#import common
#import exp

fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let row = i / uniforms.width;
  let shareT = expNegative(teacher[i] - statistics[5u * row]) / statistics[5u * row + 1u];
  let shareS = expNegative(student[i] - statistics[5u * row + 2u]) / statistics[5u * row + 3u];
  result[i] = (shareS - shareT) * gradient[row];
}
