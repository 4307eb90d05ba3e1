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

/** Offset and step of a row, docs/numerics.md "Activations"; every step one f32 operation. */
DEVICE float2 rangeOf(const float* v, const RowArgs& a, float* shared) {
  float least = INFINITE, most = -INFINITE, broken = 0;
  for (int k = threadIdx.x; k < a.width; k += blockDim.x) {
    const float x = v[k];
    least = fminf(least, x);
    most = fmaxf(most, x);
    if (!(x == x)) broken = 1;
  }
  // Three maxima with two barriers.
  float found[3] = {-least, most, broken};
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
  least = -found[0];
  most = found[1];
  broken = found[2];
  const float lo = __fmul_rn(a.clipLow, least);
  const float range = __fsub_rn(__fmul_rn(a.clipHigh, most), lo);
  if (broken > 0 || !(fabsf(range) < INFINITE)) return make_float2(NOT_A_NUMBER, NOT_A_NUMBER);
  return make_float2(lo, range > 0 ? __fdiv_rn(range, 15.0f) : 0.0f);
}

/** Codes of a row in shared or device memory, and its offset and step. A warp writes a unit, a lane the word (t, j). */
DEVICE float2 quantizeRow(const float* v, const RowArgs& a, u32* codes, float* sums, float* shared) {
  const float2 range = rangeOf(v, a, shared);
  const float lo = range.x, step = range.y;
  const int units = (a.width + UNIT - 1) / UNIT, lane = laneOf(), t = lane >> 3, j = lane & 7;
  for (int unit = warpOf(); unit < units; unit += blockDim.x >> 5) {
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

DEVICE float gated(float gate, float up) { return __fdiv_rn(gate, 1.0f + expf(-gate)) * up; }

/** Norm or gate and rotation of a row into v, which is shared memory or a row that only this block has. */
DEVICE void makeRow(const RowArgs& a, int row, float* v, float* shared, bool writes) {
  const int width = a.width;
  const float* const x = a.x + static_cast<u64>(row) * a.strideX;
  float* const out = a.out && writes ? a.out + static_cast<u64>(row) * a.strideOut : nullptr;
  float squares = 0;
  for (int k = 4 * threadIdx.x; k < width; k += 4 * blockDim.x) {
    float4 p = loadQuad(x, k, width);
    if (a.mode == ROW_NORM) squares += p.x * p.x + p.y * p.y + p.z * p.z + p.w * p.w;
    if (a.mode == ROW_GATE) {
      const float4 q = loadQuad(a.y + static_cast<u64>(row) * a.strideY, k, width);
      p = make_float4(gated(p.x, q.x), gated(p.y, q.y), gated(p.z, q.z), gated(p.w, q.w));
      // What lies past the end of a row is never read, so whole quads may be written.
      if (out) *reinterpret_cast<float4*>(out + k) = p;
    }
    *reinterpret_cast<float4*>(v + k) = p;
  }
  if (a.mode == ROW_NORM) {
    const float scale = __fdiv_rn(1.0f, __fsqrt_rn(sumBlock(squares, shared) / width + a.epsilon));
    for (int k = 4 * threadIdx.x; k < width; k += 4 * blockDim.x) {
      const float4 p = *reinterpret_cast<const float4*>(v + k), w = loadQuad(a.y, k, width);
      const float4 r = make_float4(p.x * scale * w.x, p.y * scale * w.y, p.z * scale * w.z, p.w * scale * w.w);
      *reinterpret_cast<float4*>(v + k) = r;
      if (out) *reinterpret_cast<float4*>(out + k) = r;
    }
  }
  __syncthreads();
  if (a.span == 0) return;
  rotateRow(v, width, a.span, a.scale);
  if (a.rotated && writes)
    for (int k = threadIdx.x; k < width; k += blockDim.x) a.rotated[static_cast<u64>(row) * a.strideRotated + k] = v[k];
}
