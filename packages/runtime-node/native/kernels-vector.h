// What kernels of every kind build on: rows whose end is no whole vector, and the exponential. Written once for vectors of VW
// values; included by the file of each instruction set.
#pragma once
#include "kernels.h"

namespace duobit::KERNEL_ISA {

constexpr int PANEL = 2 * VW;

/** The vector at p[k …], zeros from n on. */
static inline V loadTo(const float* p, int k, int n) { return n - k >= VW ? load(p + k) : loadPart(p + k, n - k); }
static inline void storeTo(float* p, int k, int n, V v) {
  if (n - k >= VW) store(p + k, v);
  else storePart(p + k, v, n - k);
}

/**
 * e^x: Cody-Waite reduction and a Taylor polynomial of degree 7, relative error below 2^-21 for -87.3 <= x <= 88.3; x is
 * clamped to that range. NaN stays NaN.
 */
static inline V exponential(V x) {
  x = min(splat(88.3f), max(splat(-87.3f), x));
  const V n = nearest(mul(x, splat(1.44269504088896f)));
  // ln(2) in two parts; n times the first is exact.
  V r = fma(n, splat(-0.693359375f), x);
  r = fma(n, splat(2.12194440e-4f), r);
  V p = splat(1.0f / 5040);
  p = fma(p, r, splat(1.0f / 720));
  p = fma(p, r, splat(1.0f / 120));
  p = fma(p, r, splat(1.0f / 24));
  p = fma(p, r, splat(1.0f / 6));
  p = fma(p, r, splat(0.5f));
  p = fma(p, r, splat(1));
  p = fma(p, r, splat(1));
  return mul(p, power(n));
}

}  // namespace duobit::KERNEL_ISA
