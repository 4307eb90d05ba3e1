// Rotation of a layer's input (docs/format.md, "Input rotations"), written once for vectors of VW values. Every sum and product
// is rounded to f32, in the format's order; the sums of a stage do not depend on each other, so several stages are taken
// while their values are in registers, which gives the same bits.
#pragma once
#include "kernels-float.h"

namespace duobit::KERNEL_ISA {

/** +1 in the lanes that take a sum in the stage of H, -1 in those that take a difference. */
template <int H>
static inline V laneSigns() {
  float signs[VW];
  for (int i = 0; i < VW; ++i) signs[i] = i & H ? -1.0f : 1.0f;
  return load(signs);
}

/** The stages within a vector. A product with 1 or -1 is exact: fused with the sum it rounds no less. */
template <int H = 1>
static inline V crossLanes(V v) {
  if constexpr (H < VW) return crossLanes<2 * H>(fma(v, laneSigns<H>(), swapLanes<H>(v)));
  else return v;
}

/** The first stages of R vectors in a row of a stage's. */
template <int R>
static inline void crossVectors(V (&v)[R]) {
#pragma GCC unroll 4
  for (int half = 1; half < R; half *= 2)
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
      if (!(i & half)) {
        const V a = v[i], b = v[i + half];
        v[i] = add(a, b);
        v[i + half] = sub(a, b);
      }
}

/** The stages of `half` to half * R / 2, half a multiple of VW; in place. */
template <int R>
static inline void crossFar(float* y, int length, int half) {
  for (int start = 0; start < length; start += R * half)
    for (int at = start; at < start + half; at += VW) {
      V v[R];
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i) v[i] = load(y + at + i * half);
      crossVectors(v);
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i) store(y + at + i * half, v[i]);
    }
}

static inline void multiplyBy(const float* x, const float* factors, float* y, int count) {
  for (int k = 0; k < count; k += VW) storeTo(y, k, count, mul(loadTo(x, k, count), loadTo(factors, k, count)));
}

/** y = the transform of x * factors, without its scale. `length` is a power of two. */
static void transform(const float* x, const float* factors, float* y, int length) {
  constexpr int R = 4;
  if (length < R * VW) {
    multiplyBy(x, factors, y, length);
    for (int half = 1; half < length; half *= 2)
      for (int i = 0; i < length; ++i)
        if (!(i & half)) {
          const float a = y[i], b = y[i + half];
          y[i] = a + b;
          y[i + half] = a - b;
        }
    return;
  }
  for (int k = 0; k < length; k += R * VW) {
    V v[R];
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) v[i] = crossLanes(mul(load(x + k + i * VW), load(factors + k + i * VW)));
    crossVectors(v);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) store(y + k + i * VW, v[i]);
  }
  for (int half = R * VW; half < length;) {
    // Three stages at a time, and two where one alone would be left.
    const int left = length / half;
    if (left == 2) crossFar<2>(y, length, half);
    else if (left == 4 || left == 16) crossFar<4>(y, length, half);
    else crossFar<8>(y, length, half);
    half *= left == 2 ? 2 : left == 4 || left == 16 ? 4 : 8;
  }
}

/** out = x R; out may be x. */
static void rotate(const Rotation& r, const float* x, float* out) {
  const int rest = r.width - r.span;
  float* const last = out + rest;
  transform(x, r.before, out, r.span);
  if (rest > 0) {
    if (x != out) __builtin_memcpy(out + r.span, x + r.span, static_cast<size_t>(rest) * 4);
    multiplyBy(out, r.between, out, rest);
    transform(last, r.between + rest, last, r.span);
  }
  const V scale = splat(r.scale);
  for (int k = 0; k < r.span; k += VW) storeTo(last, k, r.span, mul(loadTo(last, k, r.span), scale));
}

}  // namespace duobit::KERNEL_ISA
