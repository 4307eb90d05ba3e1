#import exp

// 1 / (1 + e^-x), with no exponential that overflows.
fn sigmoid(x: f32) -> f32 {
  let e = expNegative(-abs(x));
  return select(1.0, e, x < 0.0) / (1.0 + e);
}
