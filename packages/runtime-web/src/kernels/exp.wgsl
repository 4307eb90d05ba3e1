// e^x for x <= 0 to 2 units in the last place; the built-in one may be off by 3 + 2|x|. Below -87 it is 0.
fn expNegative(x: f32) -> f32 {
  // Not a number stays what it is, here and below.
  let t = select(x, -87.0, x < -87.0);
  let n = round(t * 1.44269504f);
  // Two parts of ln 2: the first has few bits, so its product with n is exact.
  let r = fma(n, -1.42860677e-6f, fma(n, -0.693145752f, t));
  var p = 1.9875691500e-4f;
  p = fma(p, r, 1.3981999507e-3f);
  p = fma(p, r, 8.3334519073e-3f);
  p = fma(p, r, 4.1665795894e-2f);
  p = fma(p, r, 1.6666665459e-1f);
  p = fma(p, r, 5.0000001201e-1f);
  p = fma(p * r, r, r) + 1.0;
  let scaled = p * bitcast<f32>(u32(i32(n) + 127) << 23u);
  return select(scaled, 0.0, x < -87.0);
}
