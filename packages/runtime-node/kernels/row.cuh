// What is done to one row at a time by a block: norm or gate, rotation, 4-bit codes. The row stays in shared memory between
// these links of a chain.
#pragma once
#include "layout.cuh"

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

/** Sums and differences of R values that lie `half` apart, log2(R) stages; each a single f32 operation. */
template <int R>
DEVICE void crossPass(float* v, int length, int half, float scale) {
  const bool isLast = half * R == length;
  for (int i = threadIdx.x; i < length / R; i += blockDim.x) {
    float* const p = v + (i / half) * half * R + i % half;
    float a[R];
#pragma unroll
    for (int r = 0; r < R; ++r) a[r] = p[r * half];
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
    for (int r = 0; r < R; ++r) p[r * half] = isLast ? __fmul_rn(a[r], scale) : a[r];
  }
  __syncthreads();
}

/** The orthonormal Walsh-Hadamard transform in the format's order of stages; `length` is a power of two. */
DEVICE void transform(float* v, int length, float scale) {
  if (length == 1) {
    if (threadIdx.x == 0) v[0] = __fmul_rn(v[0], scale);
    __syncthreads();
    return;
  }
  for (int half = 1; half < length;) {
    const int left = length / half;
    if (left == 2) crossPass<2>(v, length, half, scale);
    else if (left == 4 || left == 16) crossPass<4>(v, length, half, scale);
    else crossPass<8>(v, length, half, scale);
    half *= left == 2 ? 2 : left == 4 || left == 16 ? 4 : 8;
  }
}

DEVICE void rotateRow(float* v, int width, int span, float scale) {
  for (int k = threadIdx.x; k < width; k += blockDim.x) v[k] = signed_(v[k], k);
  __syncthreads();
  transform(v, span, scale);
  if (span == width) return;
  for (int k = threadIdx.x; k < width; k += blockDim.x) v[k] = signed_(v[k], 5u * k);
  __syncthreads();
  transform(v + (width - span), span, scale);
}

/** Floats of shared memory that the functions here need. */
#define ROW_SHARED 96

/** Least and greatest of the values a thread has seen; NaN are kept apart, as minima skip them. */
struct Extremes {
  float least, most, broken;
};

DEVICE void include(Extremes& e, float x) {
  e.least = fminf(e.least, x);
  e.most = fmaxf(e.most, x);
  if (!(x == x)) e.broken = 1;
}

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
 * Codes of a row in shared or device memory, and its offset and step. A warp writes a unit, a lane the word (t, j). Blocks that
 * have the same row take parts of its units.
 */
DEVICE float2 quantizeRow(const float* v, const Extremes& extremes, const RowArgs& a, u32* codes, float* sums,
                          float* shared, int part = 0, int parts = 1) {
  const float2 range = rangeOf(extremes, a, shared);
  const float lo = range.x, step = range.y;
  const int units = (a.width + UNIT - 1) / UNIT, lane = laneOf(), t = lane >> 3, j = lane & 7;
  const int warps = blockDim.x >> 5;
  for (int unit = part * warps + warpOf(); unit < units; unit += parts * warps) {
    u32 word = 0, sum = 0;
#pragma unroll
    for (int b = 0; b < 4; ++b) {
      const int k = unit * UNIT + columnOf(a.layout, t, j, b);
      u32 code = 0;
      if (k < a.width && step > 0)
        code = static_cast<u32>(fminf(fmaxf(rintf(__fdiv_rn(__fsub_rn(v[k], lo), step)), 0.0f), 15.0f));
      sum += code;
      word |= code << (8 * b + 3 - (j & 3));
    }
    codes[unit * UNIT_WORDS + wordOf(t, j)] = word;
    sum += __shfl_xor_sync(FULL, sum, 8);
    sum += __shfl_xor_sync(FULL, sum, 16);
    sum += __shfl_xor_sync(FULL, sum, 1);
    if (a.layout != LAYOUT_QUARTER) sum += __shfl_xor_sync(FULL, sum, 2);
    if (a.layout == LAYOUT_UNIT) sum += __shfl_xor_sync(FULL, sum, 4);
    // Lanes 0, 2, 4, 6 hold the sums of the quarters, 0 and 4 those of the halves.
    const int parts = a.layout == LAYOUT_UNIT ? 1 : a.layout == LAYOUT_HALF ? 2 : 4, apart = 8 / parts;
    if (lane < 8 && lane % apart == 0) sums[unit * 4 + lane / apart] = static_cast<float>(sum);
  }
  return range;
}

/** Brings a row towards the processor before it is needed. */
DEVICE void prefetchRow(const float* row, int width) {
  for (int k = 32 * threadIdx.x; k < width; k += 32 * blockDim.x) prefetch(row + k);
}

/** Quads that are loaded before the first is used. */
#define QUADS_AHEAD 4

/** Norm or gate and rotation of a row into v, which is shared memory or a row that only this block has. */
DEVICE Extremes makeRow(const RowArgs& a, int row, float* v, float* shared, bool writes) {
  const int width = a.width, step = 4 * blockDim.x;
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
      *reinterpret_cast<float4*>(v + k) = r;
    }
  }
  if (a.mode == ROW_NORM) {
    const float scale = __fdiv_rn(1.0f, __fsqrt_rn(sumBlock(squares, shared) / width + a.epsilon));
    for (int k = 4 * threadIdx.x; k < width; k += step) {
      const float4 p = *reinterpret_cast<const float4*>(v + k), w = loadQuad(y, k, width);
      const float4 r = make_float4(p.x * scale * w.x, p.y * scale * w.y, p.z * scale * w.z, p.w * scale * w.w);
      include(extremes, r, k, width);
      *reinterpret_cast<float4*>(v + k) = r;
      if (out) *reinterpret_cast<float4*>(out + k) = r;
    }
  }
  __syncthreads();
  if (a.span == 0) return extremes;
  rotateRow(v, width, a.span, a.scale);
  extremes = {INFINITE, -INFINITE, 0};
  for (int k = threadIdx.x; k < width; k += blockDim.x) {
    include(extremes, v[k]);
    if (a.rotated && writes) a.rotated[static_cast<u64>(row) * a.strideRotated + k] = v[k];
  }
  return extremes;
}
