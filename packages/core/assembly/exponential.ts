// e^x in f32 for 4 lanes.
import { mulAdd } from './simd';

/**
 * Cody-Waite reduction to |r| <= ln(2) / 2 and a Taylor polynomial of degree 7, whose truncation error is below
 * (ln(2) / 2)^8 / 8! = 5.2e-9 relative; with rounding the relative error is below 2^-21 for -87.3 <= x <= 88.3.
 * Outside that range x is clamped, so tiny results stop at 1.2e-38 and large ones at 2.2e38. NaN stays NaN.
 */
@inline export function exponential(x: v128): v128 {
  x = f32x4.pmin(f32x4.pmax(x, f32x4.splat(-87.3)), f32x4.splat(88.3));
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.44269504088896)));
  // ln(2) in two parts; the first has 9 trailing zero bits, so n times it is exact.
  let r = f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375)));
  r = f32x4.add(r, f32x4.mul(n, f32x4.splat(2.12194440e-4)));
  let p = f32x4.splat(1.0 / 5040);
  p = mulAdd(f32x4.splat(1.0 / 720), p, r);
  p = mulAdd(f32x4.splat(1.0 / 120), p, r);
  p = mulAdd(f32x4.splat(1.0 / 24), p, r);
  p = mulAdd(f32x4.splat(1.0 / 6), p, r);
  p = mulAdd(f32x4.splat(0.5), p, r);
  p = mulAdd(f32x4.splat(1), p, r);
  p = mulAdd(f32x4.splat(1), p, r);
  const power = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23);
  return f32x4.mul(p, power);
}
