// Turns pairs of values, a thread each, by angles whose cosines and sines are given for every position; `sign` -1 turns back.
#import common

fn main(index: i32) {
  let pair = u32(index);
  if (pair >= uniforms.count) {
    return;
  }
  let i = pair % uniforms.half;
  let head = pair / uniforms.half;
  let position = (head / uniforms.heads) % uniforms.tokens;
  let c = cosine[position * uniforms.half + i];
  let s = uniforms.sign * sine[position * uniforms.half + i];
  let at = head * 2u * uniforms.half + i;
  let a = x[at];
  let b = x[at + uniforms.half];
  result[at] = a * c - b * s;
  result[at + uniforms.half] = b * c + a * s;
}
