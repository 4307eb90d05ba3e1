// Rotation of a layer's input (docs/format.md, "Input rotations"), written once for vectors of VW values. Every sum and product
// is rounded to f32, in the format's order; the sums of a stage do not depend on each other, so several stages are taken
// while their values are in registers, which gives the same bits.
#pragma once
#include "kernels-vector.h"

namespace duobit::KERNEL_ISA {

/** +1 in the lanes that take a sum in the stage of H, -1 in those that take a difference. */
template <int H>
static inline V laneSigns() {
  float signs[VW];
  for (int i = 0; i < VW; ++i) signs[i] = i & H ? -1.0f : 1.0f;
  return load(signs);
}

/** The stages within a vector. A product with 1 or -1 is exact, so fused with the sum it gives what the sum alone gives. */
template <int H = 1>
static inline V crossLanes(V v) {
  if constexpr (H < VW) return crossLanes<2 * H>(fma(v, laneSigns<H>(), swapLanes<H>(v)));
  else return v;
}

/** The stages across R vectors: neighbours in `v` are what the first of them adds up. */
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

/** The stages of `half` to half * R / 2, half a multiple of VW, and behind the last stage the scale; in place. */
template <int R>
static inline void crossFar(float* y, int length, int half, V scale) {
  const bool isLast = half * R == length;
  for (int start = 0; start < length; start += R * half)
    for (int at = start; at < start + half; at += VW) {
      V v[R];
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i) v[i] = load(y + at + i * half);
      crossVectors(v);
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i) store(y + at + i * half, isLast ? mul(v[i], scale) : v[i]);
    }
}

static inline void multiplyBy(const float* x, const float* signs, float* y, int count) {
  for (int k = 0; k < count; k += VW) storeTo(y, k, count, mul(loadTo(x, k, count), loadTo(signs, k, count)));
}

/** y = the transform of x * signs. `length` is a power of two. */
static void transform(const float* x, const float* signs, float* y, int length, float scale) {
  constexpr int R = 4;
  if (length <= R * VW) {
    multiplyBy(x, signs, y, length);
    for (int half = 1; half < length; half *= 2)
      for (int i = 0; i < length; ++i)
        if (!(i & half)) {
          const float a = y[i], b = y[i + half];
          y[i] = a + b;
          y[i + half] = a - b;
        }
    for (int i = 0; i < length; ++i) y[i] *= scale;
    return;
  }
  for (int k = 0; k < length; k += R * VW) {
    V v[R];
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) v[i] = crossLanes(mul(load(x + k + i * VW), load(signs + k + i * VW)));
    crossVectors(v);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) store(y + k + i * VW, v[i]);
  }
  for (int half = R * VW; half < length;) {
    // Three stages at a time, and two where one alone would be left.
    const int left = length / half;
    if (left == 2) crossFar<2>(y, length, half, splat(scale));
    else if (left == 4 || left == 16) crossFar<4>(y, length, half, splat(scale));
    else crossFar<8>(y, length, half, splat(scale));
    half *= left == 2 ? 2 : left == 4 || left == 16 ? 4 : 8;
  }
}

/** out = x R; out may be x. */
static void rotate(const Rotation& r, const float* x, float* out) {
  const int rest = r.width - r.span;
  transform(x, r.first, out, r.span, r.scale);
  if (rest == 0) return;
  multiplyBy(x + r.span, r.first + r.span, out + r.span, rest);
  multiplyBy(out, r.second, out, rest);
  transform(out + rest, r.second + rest, out + rest, r.span, r.scale);
}

}  // namespace duobit::KERNEL_ISA
