// The loss of distillation, Adam and the norm of gradients; included by the file of each instruction set.
#pragma once
#include <cmath>

#include "kernels-vector.h"
#include "training.h"

namespace duobit::KERNEL_ISA {

static inline float largestOf(const float* x, int width) {
  V top = splat(-__builtin_inff());
  int k = 0;
  for (; k + VW <= width; k += VW) top = max(top, load(x + k));
  float most = highest(top);
  for (; k < width; ++k) most = x[k] > most ? x[k] : most;
  return most;
}

/** Values whose sum is taken in f32; beyond, sums are in double precision, as a vocabulary is long. */
constexpr int LOSS_RUN = 64 * VW;

/**
 * With w = e^(t - max t): the sum of w (t - s) / sum of w, less the difference of the logs of the sums of e^t and e^s; t and s less
 * their largest.
 */
static float distillRow(const float* teacher, const float* student, int width) {
  const float mostT = largestOf(teacher, width), mostS = largestOf(student, width);
  const V mt = splat(mostT), ms = splat(mostS);
  double sumT = 0, sumS = 0, sumDifference = 0;
  for (int start = 0; start < width; start += LOSS_RUN) {
    const int end = width - start < LOSS_RUN ? width : start + LOSS_RUN;
    V a = zero(), b = zero(), c = zero();
    int k = start;
    for (; k + VW <= end; k += VW) {
      const V t = sub(load(teacher + k), mt), s = sub(load(student + k), ms);
      const V e = exponential(t);
      a = add(a, e);
      b = add(b, exponential(s));
      c = fma(e, sub(t, s), c);
    }
    sumT += static_cast<double>(sum(a));
    sumS += static_cast<double>(sum(b));
    sumDifference += static_cast<double>(sum(c));
    for (; k < end; ++k) {
      const float t = teacher[k] - mostT, s = student[k] - mostS;
      const double e = std::exp(static_cast<double>(t));
      sumT += e;
      sumS += std::exp(static_cast<double>(s));
      sumDifference += e * static_cast<double>(t - s);
    }
  }
  return static_cast<float>(sumDifference / sumT + std::log(sumS) - std::log(sumT));
}

/** to[k] = e^(x - largest); gives the sum. */
static double exponentials(const float* x, int width, float* to) {
  const V most = splat(largestOf(x, width));
  double total = 0;
  for (int start = 0; start < width; start += LOSS_RUN) {
    const int end = width - start < LOSS_RUN ? width : start + LOSS_RUN;
    V a = zero();
    int k = start;
    for (; k + VW <= end; k += VW) {
      const V e = exponential(sub(load(x + k), most));
      store(to + k, e);
      a = add(a, e);
    }
    if (k < end) {
      storePart(to + k, exponential(sub(loadPart(x + k, end - k), most)), end - k);
      for (int i = k; i < end; ++i) total += static_cast<double>(to[i]);
    }
    total += static_cast<double>(sum(a));
  }
  return total;
}

static void distillRowBack(const float* teacher, const float* student, int width, float dLoss, float* dStudent, float* scratch) {
  const double sumT = exponentials(teacher, width, scratch), sumS = exponentials(student, width, dStudent);
  const V t = splat(static_cast<float>(1 / sumT)), s = splat(static_cast<float>(1 / sumS)), d = splat(dLoss);
  for (int k = 0; k < width; k += VW)
    storeTo(dStudent, k, width, mul(sub(mul(loadTo(dStudent, k, width), s), mul(loadTo(scratch, k, width), t)), d));
}

static void adam(float* parameter, const float* gradient, float* mean, float* square, int count, const AdamStep& step) {
  const V beta1 = splat(step.beta1), beta2 = splat(step.beta2), rest1 = splat(step.rest1), rest2 = splat(step.rest2);
  const V epsilon = splat(step.epsilon), scale = splat(step.scale), rate = splat(-step.rate), correction = splat(step.correction);
  for (int k = 0; k < count; k += VW) {
    const V g = mul(loadTo(gradient, k, count), scale);
    const V m = fma(beta1, loadTo(mean, k, count), mul(rest1, g));
    const V v = fma(beta2, loadTo(square, k, count), mul(rest2, mul(g, g)));
    storeTo(mean, k, count, m);
    storeTo(square, k, count, v);
    const V root = add(squareRoot(mul(v, correction)), epsilon);
    storeTo(parameter, k, count, fma(rate, div(m, root), loadTo(parameter, k, count)));
  }
}

static double sumOfSquares(const float* values, int count) {
  // Several sums side by side, which a compiler may keep in vectors.
  double sums[8] = {};
  int k = 0;
  for (; k + 8 <= count; k += 8)
    for (int i = 0; i < 8; ++i) {
      const double value = static_cast<double>(values[k + i]);
      sums[i] += value * value;
    }
  double total = 0;
  for (; k < count; ++k) total += static_cast<double>(values[k]) * static_cast<double>(values[k]);
  for (const double part : sums) total += part;
  return total;
}

}  // namespace duobit::KERNEL_ISA
