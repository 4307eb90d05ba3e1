#import silu

fn element(a: f32, b: f32) -> f32 {
  return gated(a, b);
}
