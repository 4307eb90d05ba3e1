// What rounds: 4-bit activations and the nearest levels of latent weights, with the gradients that training takes in their place;
// included by the file of each instruction set.
#pragma once
#include "kernels-vector.h"
#include "training.h"

namespace duobit::KERNEL_ISA {

/** Range of a row and the grid on it, docs/numerics.md "Activations". */
struct Grid {
  float least, most, lo, hi, step;
  /** A value or the range is not finite. */
  bool broken;
};

static inline Grid gridOf(const float* x, int width, float clipLow, float clipHigh) {
  V low = splat(__builtin_inff()), high = splat(-__builtin_inff()), fault = zero();
  int k = 0;
  for (; k + VW <= width; k += VW) {
    const V v = load(x + k);
    low = min(low, v);
    high = max(high, v);
    fault = add(fault, sub(v, v));
  }
  float least = lowest(low), most = highest(high), bad = sum(fault);
  for (; k < width; ++k) {
    least = x[k] < least ? x[k] : least;
    most = x[k] > most ? x[k] : most;
    bad += x[k] - x[k];
  }
  Grid g{least, most, clipLow * least, clipHigh * most, 0, false};
  const float range = g.hi - g.lo;
  g.broken = !(bad == 0) || !(__builtin_fabsf(range) < __builtin_inff());
  g.step = range > 0 ? range / 15 : 0;
  if (g.broken) g.lo = g.step = __builtin_nanf("");
  return g;
}

/** Limiting before rounding gives the same codes, as 0 and 15 are whole. */
static inline V codeOf(V place) { return nearest(min(max(place, zero()), splat(15))); }

static void quantizeRow(const float* x, int width, float clipLow, float clipHigh, float* out) {
  const Grid g = gridOf(x, width, clipLow, clipHigh);
  const V lo = splat(g.lo), step = splat(g.step);
  if (!(g.step > 0)) {
    // 0 added, as a product of step and code would be: of a lo of -0 it makes 0.
    for (int k = 0; k < width; k += VW) storeTo(out, k, width, add(lo, zero()));
    return;
  }
  for (int k = 0; k < width; k += VW) {
    const V code = codeOf(div(sub(loadTo(x, k, width), lo), step));
    storeTo(out, k, width, add(lo, mul(step, code)));
  }
}

/** Between the ends a step passes the gradient on and moves the ends by what it rounds; beyond an end the end has it all. */
static void quantizeRowBack(const float* x, int width, float clipLow, float clipHigh, const float* dOut, float* dX, double* dClips) {
  const Grid g = gridOf(x, width, clipLow, clipHigh);
  if (g.broken) {
    for (int k = 0; k < width; k += VW) storeTo(dX, k, width, splat(g.lo));
    dClips[0] = dClips[1] = static_cast<double>(g.lo);
    return;
  }
  const V lo = splat(g.lo), hi = splat(g.hi), step = splat(g.step);
  // Without a step every value decodes to lo, so lo has what lies beyond either end.
  const bool flat = !(g.step > 0);
  V toLow = zero(), toHigh = zero();
  for (int k = 0; k < width; k += VW) {
    const V v = loadTo(x, k, width), d = loadTo(dOut, k, width);
    const V within = whereLess(v, lo, zero(), whereLess(hi, v, zero(), d));
    storeTo(dX, k, width, within);
    if (flat) {
      toLow = add(toLow, sub(d, within));
      continue;
    }
    const V below = whereLess(v, lo, d, zero()), above = whereLess(hi, v, d, zero());
    const V place = div(sub(v, lo), step);
    const V rounded = mul(within, mul(sub(codeOf(place), place), splat(1.0f / 15)));
    toHigh = add(toHigh, add(above, rounded));
    toLow = add(toLow, sub(below, rounded));
  }
  dClips[0] = static_cast<double>(sum(toLow)) * static_cast<double>(g.least);
  dClips[1] = static_cast<double>(sum(toHigh)) * static_cast<double>(g.most);
}

/** The levels of a group in ascending order, and after each but the last the largest number that it is the nearest of. */
struct LevelSearch {
  float levels[4], borders[3];
  /** Which of the group's levels that is; of equal ones the first in the order of the group. */
  int origin[4];
};

/** The largest f32 that is at most (a + b) / 2 for a <= b: compared with an f32, it stands for the exact middle. */
static inline float borderOf(float a, float b) {
  const double x = static_cast<double>(a), y = static_cast<double>(b), total = x + y;
  // What the sum of two doubles leaves out (Knuth's two-sum).
  const double part = total - x, rest = (x - (total - part)) + (y - part);
  const double middle = total / 2;
  const float border = static_cast<float>(middle);
  const double excess = static_cast<double>(border) - middle;
  return excess > 0 || (excess == 0 && rest < 0) ? __builtin_nextafterf(border, -__builtin_inff()) : border;
}

static inline LevelSearch searchOf(const float* levels) {
  LevelSearch s{{levels[0], levels[1], levels[2], levels[3]}, {}, {0, 1, 2, 3}};
  for (int i = 1; i < 4; ++i)
    for (int j = i; j > 0 && s.levels[j] < s.levels[j - 1]; --j) {
      const float level = s.levels[j];
      s.levels[j] = s.levels[j - 1];
      s.levels[j - 1] = level;
      const int origin = s.origin[j];
      s.origin[j] = s.origin[j - 1];
      s.origin[j - 1] = origin;
    }
  for (int i = 0; i < 3; ++i) {
    s.borders[i] = borderOf(s.levels[i], s.levels[i + 1]);
    if (s.levels[i + 1] == s.levels[i]) s.origin[i + 1] = s.origin[i];
  }
  return s;
}

static void nearestGroup(const float* latent, const float* levels, int count, float* out) {
  const LevelSearch s = searchOf(levels);
  const V a = splat(s.levels[0]), b = splat(s.levels[1]), c = splat(s.levels[2]), d = splat(s.levels[3]);
  const V ab = splat(s.borders[0]), bc = splat(s.borders[1]), cd = splat(s.borders[2]);
  for (int k = 0; k < count; k += VW) {
    const V x = loadTo(latent, k, count);
    storeTo(out, k, count, whereLess(cd, x, d, whereLess(bc, x, c, whereLess(ab, x, b, a))));
  }
}

static void nearestGroupBack(const float* latent, const float* levels, int count, const float* dOut, float* dLevels) {
  const LevelSearch s = searchOf(levels);
  const V ab = splat(s.borders[0]), bc = splat(s.borders[1]), cd = splat(s.borders[2]);
  V sums[4] = {zero(), zero(), zero(), zero()};
  for (int k = 0; k < count; k += VW) {
    const V x = loadTo(latent, k, count), g = loadTo(dOut, k, count);
    const V fromB = whereLess(ab, x, g, zero()), fromC = whereLess(bc, x, g, zero()), fromD = whereLess(cd, x, g, zero());
    // Each difference is a gradient or 0.
    sums[0] = add(sums[0], sub(g, fromB));
    sums[1] = add(sums[1], sub(fromB, fromC));
    sums[2] = add(sums[2], sub(fromC, fromD));
    sums[3] = add(sums[3], fromD);
  }
  for (int i = 0; i < 4; ++i) dLevels[i] = 0;
  for (int i = 0; i < 4; ++i) dLevels[s.origin[i]] += sum(sums[i]);
}

/** Of a code only the last two bits count, so that none reads beyond the levels. */
static void chosenGroup(const int32_t* codes, const float* levels, int count, float* out) {
  for (int k = 0; k < count; ++k) out[k] = levels[codes[k] & 3];
}

static void chosenGroupBack(const int32_t* codes, int count, const float* dOut, float* dLevels) {
  // Two sums of each level, so that not every weight waits for the one before it.
  float sums[2][4] = {};
  int k = 0;
  for (; k + 2 <= count; k += 2) {
    sums[0][codes[k] & 3] += dOut[k];
    sums[1][codes[k + 1] & 3] += dOut[k + 1];
  }
  if (k < count) sums[0][codes[k] & 3] += dOut[k];
  for (int i = 0; i < 4; ++i) dLevels[i] = sums[0][i] + sums[1][i];
}

/** Of the inner two levels, 1 and 2, or where the bitmap is above 1/2 the outer two, the one on the latent weight's side. */
static void relaxedGroup(const float* latent, const float* bitmap, const float* levels, int count, float* out) {
  const V a = splat(levels[0]), b = splat(levels[1]), c = splat(levels[2]), d = splat(levels[3]);
  for (int k = 0; k < count; k += VW) {
    const V x = loadTo(latent, k, count), m = loadTo(bitmap, k, count);
    const V inner = whereLess(zero(), x, c, b), outer = whereLess(zero(), x, d, a);
    storeTo(out, k, count, whereLess(splat(0.5f), m, outer, inner));
  }
}

/** With u = 2 m - 1 a bitmap's gradient is that of its level's step, and `push` u (1 - u^2). */
static void relaxedGroupBack(const float* latent, const float* bitmap, const float* levels, int count, float push, const float* dOut, float* dBitmap, float* dLevels) {
  const V below = splat(levels[0] - levels[1]), above = splat(levels[3] - levels[2]), one = splat(1);
  V sums[4] = {zero(), zero(), zero(), zero()};
  for (int k = 0; k < count; k += VW) {
    const V x = loadTo(latent, k, count), m = loadTo(bitmap, k, count), g = loadTo(dOut, k, count);
    const V u = sub(add(m, m), one);
    const V pushed = mul(mul(u, sub(one, mul(u, u))), splat(push));
    storeTo(dBitmap, k, count, add(mul(g, whereLess(zero(), x, above, below)), pushed));
    // Each difference is a gradient or 0.
    const V outer = whereLess(splat(0.5f), m, g, zero()), inner = sub(g, outer);
    const V outerAbove = whereLess(zero(), x, outer, zero()), innerAbove = whereLess(zero(), x, inner, zero());
    sums[0] = add(sums[0], sub(outer, outerAbove));
    sums[1] = add(sums[1], sub(inner, innerAbove));
    sums[2] = add(sums[2], innerAbove);
    sums[3] = add(sums[3], outerAbove);
  }
  for (int i = 0; i < 4; ++i) dLevels[i] = sum(sums[i]);
}

}  // namespace duobit::KERNEL_ISA
