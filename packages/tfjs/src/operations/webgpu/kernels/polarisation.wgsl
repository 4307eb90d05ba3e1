// Of each value b of a relaxed bitmap (1 - |2 b - 1|^2)^2.
#import common

fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let u = 2.0 * bitmap[i] - 1.0;
  let open = 1.0 - u * u;
  result[i] = open * open;
}
