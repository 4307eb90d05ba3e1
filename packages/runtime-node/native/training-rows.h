// Norms, rotary embedding, gated activation and rotations with their gradients, one row or one run of values at a time; included
// by the file of each instruction set.
#pragma once
#include "kernels-rotate.h"
#include "training.h"

namespace duobit::KERNEL_ISA {

/** 1 / sqrt(mean(x^2) + epsilon) */
static inline float normScale(const float* x, int width, float epsilon) {
  V a = zero(), b = zero();
  int k = 0;
  for (; k + 2 * VW <= width; k += 2 * VW) {
    const V u = load(x + k), v = load(x + k + VW);
    a = fma(u, u, a);
    b = fma(v, v, b);
  }
  for (; k < width; k += VW) {
    const V u = loadTo(x, k, width);
    a = fma(u, u, a);
  }
  return 1.0f / __builtin_sqrtf(sum(add(a, b)) / static_cast<float>(width) + epsilon);
}

static void normRow(const float* x, const float* weight, float* out, int width, float epsilon) {
  const V s = splat(normScale(x, width, epsilon));
  for (int k = 0; k < width; k += VW) storeTo(out, k, width, mul(mul(loadTo(x, k, width), s), loadTo(weight, k, width)));
}

/** With s the scale: dX = s (w dOut - x s^2 mean(w dOut x)). */
static void normRowBack(const float* x, const float* weight, const float* dOut, float* dX, float* dWeight, int width, float epsilon) {
  const float scale = normScale(x, width, epsilon);
  const V s = splat(scale);
  V dot = zero();
  for (int k = 0; k < width; k += VW) {
    const V u = loadTo(x, k, width), g = loadTo(dOut, k, width);
    dot = fma(mul(g, loadTo(weight, k, width)), u, dot);
    storeTo(dWeight, k, width, fma(mul(g, u), s, loadTo(dWeight, k, width)));
  }
  const V slope = splat(-sum(dot) / static_cast<float>(width) * scale * scale);
  for (int k = 0; k < width; k += VW)
    storeTo(dX, k, width, mul(s, fma(loadTo(x, k, width), slope, mul(loadTo(dOut, k, width), loadTo(weight, k, width)))));
}

static void addRuns(const float* a, const float* b, float* out, int count) {
  for (int k = 0; k < count; k += VW) storeTo(out, k, count, add(loadTo(a, k, count), loadTo(b, k, count)));
}

static void turnRow(const float* x, const float* angles, float* out, int headCount, int headSize, bool inverse) {
  const int half = headSize / 2;
  const V sign = splat(inverse ? -1.0f : 1.0f);
  for (int head = 0; head < headCount; ++head, x += headSize, out += headSize)
    for (int i = 0; i < half; i += VW) {
      const V a = loadTo(x, i, half), b = loadTo(x + half, i, half);
      const V c = loadTo(angles, i, half), s = mul(loadTo(angles + half, i, half), sign);
      storeTo(out, i, half, sub(mul(a, c), mul(b, s)));
      storeTo(out + half, i, half, add(mul(b, c), mul(a, s)));
    }
}

static void gate(const float* gates, const float* up, float* out, int count) {
  for (int k = 0; k < count; k += VW) {
    const V g = loadTo(gates, k, count);
    const V s = div(g, add(splat(1), exponential(sub(zero(), g))));
    storeTo(out, k, count, mul(s, loadTo(up, k, count)));
  }
}

/** With s the sigmoid of g: to up g s, to g up (s + g s (1 - s)). */
static void gateBack(const float* gates, const float* up, const float* dOut, float* dGate, float* dUp, int count) {
  for (int k = 0; k < count; k += VW) {
    const V g = loadTo(gates, k, count), d = loadTo(dOut, k, count), u = loadTo(up, k, count);
    const V e = exponential(sub(zero(), g));
    const V s = div(splat(1), add(splat(1), e));
    // 1 - s without the cancellation where s is near 1.
    const V rest = mul(e, s), value = mul(g, s);
    storeTo(dUp, k, count, mul(d, value));
    storeTo(dGate, k, count, mul(mul(d, u), fma(value, rest, s)));
  }
}

/** out = x R^T: the factors of R the other way round. */
static void rotateBack(const Rotation& r, const float* ones, const float* x, float* out) {
  const int rest = r.width - r.span;
  if (rest > 0) {
    transform(x + rest, ones, out + rest, r.span, r.scale);
    if (out != x) __builtin_memcpy(out, x, sizeof(float) * static_cast<size_t>(rest));
    multiplyBy(out, r.second, out, r.width);
    transform(out, ones, out, r.span, r.scale);
  } else {
    transform(x, ones, out, r.span, r.scale);
  }
  multiplyBy(out, r.first, out, r.width);
}

}  // namespace duobit::KERNEL_ISA
