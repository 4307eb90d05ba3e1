// What is done to one row at a time by a block: norm or gate, rotation, 4-bit codes. The row stays in shared memory between
// these links of a chain.
#pragma once
#include "w11-bits.cuh"

enum RowMode { ROW_COPY = 0, ROW_NORM = 1, ROW_GATE = 2 };

struct RowArgs {
  /** The input, or the gate. */
  const float* x;
  /** Weight of the norm, or what is gated. */
  const float* y;
  /** Result of norm or gate, or null. */
  float* out;
  /** The rotated row, or null. */
  float* rotated;
  /** Null: no codes. */
  u32* codes;
  float* sums;
  float* params;
  /** Where a row lies that is too wide for shared memory; else null. */
  float* scratch;
  int mode;
  int width;
  int strideX;
  int strideY;
  int strideOut;
  int strideRotated;
  int strideScratch;
  /** Largest power of two in the width, 0: no rotation. */
  int span;
  /** fl(1 / sqrt(span)). */
  float scale;
  float epsilon;
  float clipLow;
  float clipHigh;
  int layout;
};

/** x with the sign of the Rudin-Shapiro sequence at k. */
DEVICE float signed_(float x, u32 k) {
  return __int_as_float(__float_as_int(x) ^ static_cast<int>((__popc(k & k >> 1) & 1u) << 31));
}

/**
 * Where value k of a row lies in it. Values that the lanes of a warp touch at once would share banks of shared memory where
 * they are 8, 16 or 64 apart: bits 5 to 8 of k are folded into the five that choose the bank. Linear: of a sum without
 * carries it is the exclusive or of the parts'.
 */
DEVICE int placeIn(int k) { return k ^ (k >> 5 & 15) ^ (k >> 2 & 24) ^ (k >> 4 & 16); }

/** As far as this does not reach into the bits of `placeIn`, rows may begin anywhere. */
#define PLACE_PERIOD 512

/** Least and greatest of the values a thread has seen; NaN are kept apart, as minima skip them. */
struct Extremes {
  float least, most, broken;
};

DEVICE void include(Extremes& e, float x) {
  e.least = fminf(e.least, x);
  e.most = fmaxf(e.most, x);
  if (!(x == x)) e.broken = 1;
}

/**
 * Sums and differences of R = 2^BITS values that 2^shift lie between, BITS stages of a transform of `length` values from
 * `offset` on; each a single f32 operation. The last are scaled and looked at.
 */
template <int BITS>
DEVICE void crossPass(float* v, int offset, int length, int shift, float scale, Extremes* seen) {
  constexpr int R = 1 << BITS;
  const bool isLast = length >> shift == R, isAligned = offset % PLACE_PERIOD == 0;
  float* const row = v + offset;
  for (int i = threadIdx.x; i < length >> BITS; i += blockDim.x) {
    const int first = (i >> shift << (shift + BITS)) + (i & ((1 << shift) - 1));
    int at[R];
    float a[R];
    at[0] = placeIn(first);
#pragma unroll
    for (int r = 1; r < R; ++r) at[r] = at[r & (r - 1)] ^ placeIn((r & -r) << shift);
    if (!isAligned)
#pragma unroll
      for (int r = 0; r < R; ++r) at[r] = placeIn(offset + first + (r << shift)) - offset;
#pragma unroll
    for (int r = 0; r < R; ++r) a[r] = row[at[r]];
#pragma unroll
    for (int h = 1; h < R; h *= 2)
#pragma unroll
      for (int r = 0; r < R; ++r)
        if (!(r & h)) {
          const float x = a[r], y = a[r + h];
          a[r] = __fadd_rn(x, y);
          a[r + h] = __fsub_rn(x, y);
        }
#pragma unroll
    for (int r = 0; r < R; ++r) {
      if (isLast) a[r] = __fmul_rn(a[r], scale);
      if (isLast && seen) include(*seen, a[r]);
      row[at[r]] = a[r];
    }
  }
  __syncthreads();
}

/**
 * The orthonormal Walsh-Hadamard transform in the format's order of stages; `length` is a power of two. As few passes of at most
 * four stages as there can be, and these as even as can be.
 */
DEVICE void transform(float* v, int offset, int length, float scale, Extremes* seen) {
  int shift = 0, left = 31 - __clz(length);
  do {
    const int passes = (left + 3) / 4, bits = passes == 0 ? 0 : (left + passes - 1) / passes;
    if (bits == 4) crossPass<4>(v, offset, length, shift, scale, seen);
    else if (bits == 3) crossPass<3>(v, offset, length, shift, scale, seen);
    else if (bits == 2) crossPass<2>(v, offset, length, shift, scale, seen);
    else if (bits == 1) crossPass<1>(v, offset, length, shift, scale, seen);
    else crossPass<0>(v, offset, length, shift, scale, seen);
    shift += bits;
    left -= bits;
  } while (left > 0);
}

/** Of values that have the first signs already; gives the extremes of the results. */
DEVICE Extremes rotateRow(float* v, int width, int span, float scale) {
  Extremes extremes = {INFINITE, -INFINITE, 0};
  transform(v, 0, span, scale, span == width ? &extremes : nullptr);
  if (span == width) return extremes;
  const int rest = width - span;
  for (int k = threadIdx.x; k < width; k += blockDim.x) {
    const float x = signed_(v[placeIn(k)], 5u * k);
    if (k < rest) include(extremes, x);
    v[placeIn(k)] = x;
  }
  __syncthreads();
  transform(v, rest, span, scale, &extremes);
  return extremes;
}

/** Floats of shared memory that the functions here need. */
#define ROW_SHARED 96

/** Of a quad of a row; values past its end are no values. */
DEVICE void include(Extremes& e, const float4& v, int k, int width) {
  include(e, v.x);
  if (k + 1 < width) include(e, v.y);
  if (k + 2 < width) include(e, v.z);
  if (k + 3 < width) include(e, v.w);
}

/** Offset and step of a row, docs/numerics.md "Activations"; every step one f32 operation. */
DEVICE float2 rangeOf(const Extremes& e, const RowArgs& a, float* shared) {
  // Three maxima with two barriers.
  float found[3] = {-e.least, e.most, e.broken};
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    found[i] = maxWarp(found[i]);
    if (laneOf() == 0) shared[3 * warpOf() + i] = found[i];
  }
  __syncthreads();
  const int warps = blockDim.x >> 5;
#pragma unroll
  for (int i = 0; i < 3; ++i) found[i] = maxWarp(laneOf() < warps ? shared[3 * laneOf() + i] : -INFINITE);
  const float lo = __fmul_rn(a.clipLow, -found[0]);
  const float range = __fsub_rn(__fmul_rn(a.clipHigh, found[1]), lo);
  if (found[2] > 0 || !(fabsf(range) < INFINITE)) return make_float2(NOT_A_NUMBER, NOT_A_NUMBER);
  return make_float2(lo, range > 0 ? __fdiv_rn(range, 15.0f) : 0.0f);
}

/**
 * A product with an inverse that is this near a whole number rounds as the quotient does: both are within 2^-22 of it, relatively,
 * and those above 1024 are clamped either way.
 */
#define SURE 0.499f

/** Where a row's codes go, as bytes or as bit planes or both (or null), and their sums. */
struct CodesOut {
  u32* codes;
  u32* planes;
  float* sums;
};

/**
 * Codes of a row in shared or device memory, and its offset and step. A warp writes a unit, a lane the word (t, j). Blocks that
 * have the same row take parts of its units.
 */
DEVICE float2 quantizeRow(const float* v, const Extremes& extremes, const RowArgs& a, const CodesOut& to, float* shared,
                          int part = 0, int parts = 1) {
  const float2 range = rangeOf(extremes, a, shared);
  const float lo = range.x, step = range.y;
  const int units = (a.width + UNIT - 1) / UNIT, lane = laneOf(), t = lane >> 3, j = lane & 7;
  const int warps = blockDim.x >> 5;
  // A quotient is only divided for where the product with the inverse lies near the middle of two codes, or the inverse is poor.
  const float inverse = step > 1e-30f && step < 1e30f ? __fdiv_rn(1.0f, step) : NOT_A_NUMBER;
  int columns[4], places[4];
#pragma unroll
  for (int b = 0; b < 4; ++b) {
    columns[b] = columnOf(a.layout, t, j, b);
    places[b] = placeIn(columns[b]);
  }
  for (int unit = part * warps + warpOf(); unit < units; unit += parts * warps) {
    const int start = placeIn(unit * UNIT);
    u32 word = 0, sum = 0;
#pragma unroll
    for (int b = 0; b < 4; ++b) {
      u32 code = 0;
      if (unit * UNIT + columns[b] < a.width && step > 0) {
        const float above = __fsub_rn(v[start ^ places[b]], lo);
        float quotient = __fmul_rn(above, inverse);
        if (!(fabsf(quotient - rintf(quotient)) < SURE)) quotient = __fdiv_rn(above, step);
        code = static_cast<u32>(fminf(fmaxf(rintf(quotient), 0.0f), 15.0f));
      }
      sum += code;
      word |= code << 8 * b;
    }
    if (to.codes) to.codes[unit * UNIT_WORDS + wordOf(t, j)] = word << (3 - (j & 3));
    if (to.planes) putPlane(to.planes, unit, planeOf(word, j));
    sum += __shfl_xor_sync(FULL, sum, 8);
    sum += __shfl_xor_sync(FULL, sum, 16);
    sum += __shfl_xor_sync(FULL, sum, 1);
    if (a.layout != LAYOUT_QUARTER) sum += __shfl_xor_sync(FULL, sum, 2);
    if (a.layout == LAYOUT_UNIT) sum += __shfl_xor_sync(FULL, sum, 4);
    // Lanes 0, 2, 4, 6 hold the sums of the quarters, 0 and 4 those of the halves.
    const int parts = a.layout == LAYOUT_UNIT ? 1 : a.layout == LAYOUT_HALF ? 2 : 4, apart = 8 / parts;
    if (lane < 8 && lane % apart == 0) to.sums[unit * 4 + lane / apart] = static_cast<float>(sum);
  }
  return range;
}

/** Brings a row towards the processor before it is needed. */
DEVICE void prefetchRow(const float* row, int width) {
  for (int k = 32 * threadIdx.x; k < width; k += 32 * blockDim.x) prefetch(row + k);
}

/** Quads that are loaded before the first is used. */
#define QUADS_AHEAD 4

/** Of quads in the places of `placeIn`, with the signs that begin a rotation. */
DEVICE void putQuad(float* v, int k, const float4& r, bool signs) {
  const int at = placeIn(k);
  v[at] = signs ? signed_(r.x, k) : r.x;
  v[at ^ 1] = signs ? signed_(r.y, k + 1) : r.y;
  v[at ^ 2] = signs ? signed_(r.z, k + 2) : r.z;
  v[at ^ 3] = signs ? signed_(r.w, k + 3) : r.w;
}
DEVICE float4 takeQuad(const float* v, int k) {
  const int at = placeIn(k);
  return make_float4(v[at], v[at ^ 1], v[at ^ 2], v[at ^ 3]);
}

/**
 * Norm or gate and rotation of a row into v, which is shared memory or a row that only this block has, of a multiple of
 * ROW_ALIGN floats; value k lies at placeIn(k).
 */
DEVICE Extremes makeRow(const RowArgs& a, int row, float* v, float* shared, bool writes) {
  const int width = a.width, step = 4 * blockDim.x;
  const bool turns = a.span > 0;
  const float* const x = a.x + static_cast<u64>(row) * a.strideX;
  const float* const y = a.mode == ROW_GATE ? a.y + static_cast<u64>(row) * a.strideY : a.y;
  float* const out = a.out && writes ? a.out + static_cast<u64>(row) * a.strideOut : nullptr;
  Extremes extremes = {INFINITE, -INFINITE, 0};
  float squares = 0;
  for (int base = 4 * threadIdx.x; base < width; base += QUADS_AHEAD * step) {
    float4 p[QUADS_AHEAD], q[QUADS_AHEAD];
#pragma unroll
    for (int i = 0; i < QUADS_AHEAD; ++i) {
      const int k = base + i * step;
      if (k >= width) break;
      p[i] = loadQuad(x, k, width);
      if (a.mode == ROW_GATE) q[i] = loadQuad(y, k, width);
    }
#pragma unroll
    for (int i = 0; i < QUADS_AHEAD; ++i) {
      const int k = base + i * step;
      if (k >= width) break;
      float4 r = p[i];
      if (a.mode == ROW_NORM) squares += r.x * r.x + r.y * r.y + r.z * r.z + r.w * r.w;
      if (a.mode == ROW_GATE) {
        r = make_float4(gated(r.x, q[i].x), gated(r.y, q[i].y), gated(r.z, q[i].z), gated(r.w, q[i].w));
        // What lies past the end of a row is never read, so whole quads may be written.
        if (out) *reinterpret_cast<float4*>(out + k) = r;
      }
      if (a.mode != ROW_NORM) include(extremes, r, k, width);
      putQuad(v, k, r, turns && a.mode != ROW_NORM);
    }
  }
  if (a.mode == ROW_NORM) {
    const float scale = __fdiv_rn(1.0f, __fsqrt_rn(sumBlock(squares, shared) / width + a.epsilon));
    for (int k = 4 * threadIdx.x; k < width; k += step) {
      const float4 p = takeQuad(v, k), w = loadQuad(y, k, width);
      const float4 r = make_float4(p.x * scale * w.x, p.y * scale * w.y, p.z * scale * w.z, p.w * scale * w.w);
      include(extremes, r, k, width);
      putQuad(v, k, r, turns);
      if (out) *reinterpret_cast<float4*>(out + k) = r;
    }
  }
  __syncthreads();
  if (!turns) return extremes;
  extremes = rotateRow(v, width, a.span, a.scale);
  if (a.rotated && writes)
    for (int k = threadIdx.x; k < width; k += blockDim.x)
      a.rotated[static_cast<u64>(row) * a.strideRotated + k] = v[placeIn(k)];
  return extremes;
}
