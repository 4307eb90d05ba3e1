// What is done to one row at a time by a block: norm or gate, rotation, 4-bit codes. The row stays in shared memory between
// these links of a chain.
#pragma once
#include "rotate.cuh"

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
  /** Bit planes of the first row's codes, for products of one row; or null. */
  u32* planes;
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
  float inverseWidth;
};

#define MOST_WARPS 16

/** What the warps of a block tell each other of a row; each place is written once. */
struct RowShared {
  float squares[MOST_WARPS];
  int least[MOST_WARPS], most[MOST_WARPS];
};

/** Of a quad of a row; values past its end are no values. */
DEVICE void include(Extremes& e, const float4& v, int k, int width) {
  include(e, v.x);
  if (k + 1 < width) include(e, v.y);
  if (k + 2 < width) include(e, v.z);
  if (k + 3 < width) include(e, v.w);
}

/** fl(x / 15), for x that is not negative: one more rounding of what a product with the inverse lacks is exact but for tiny x. */
DEVICE float fifteenth(float x) {
  if (!(x > 1e-30f)) return __fdiv_rn(x, 15.0f);
  const float inverse = 1.0f / 15.0f, quotient = __fmul_rn(x, inverse);
  return fmaf(fmaf(-15.0f, quotient, x), inverse, quotient);
}

/** Offset and step between a row's extremes, docs/numerics.md "Activations"; every step one f32 operation. */
DEVICE float2 rangeBetween(float low, float high, const RowArgs& a) {
  const float lo = __fmul_rn(a.clipLow, low), range = __fsub_rn(__fmul_rn(a.clipHigh, high), lo);
  // So it is where a value is infinite or no number.
  if (!(fabsf(range) < INFINITE)) return make_float2(NOT_A_NUMBER, NOT_A_NUMBER);
  return make_float2(lo, range > 0 ? fifteenth(range) : 0.0f);
}

/** The same of what each thread has seen. The row is there for all after it. */
DEVICE float2 rangeOf(const Extremes& e, const RowArgs& a, RowShared& shared) {
  // Exchanges of lanes that have come apart take many times as long.
  __syncwarp();
  const int lane = laneOf(), warps = blockDim.x >> 5;
  const int least = __reduce_min_sync(FULL, e.least), most = __reduce_max_sync(FULL, e.most);
  if (lane == 0) {
    shared.least[warpOf()] = least;
    shared.most[warpOf()] = most;
  }
  __syncthreads();
  const int last = lane < warps ? lane : 0;
  return rangeBetween(valueOf(__reduce_min_sync(FULL, shared.least[last])), valueOf(__reduce_max_sync(FULL, shared.most[last])), a);
}

/** Words of a unit's four bit planes of codes: [t][plane], bit 8 b + j of word t for byte b of the word (t, j) of codes. */
#define UNIT_PLANES 16

/** Units of a row that one of the blocks which share it makes codes of. */
struct UnitRange {
  int first, end;
};

DEVICE UnitRange unitsOfPart(int width, int part, int parts) {
  const int units = (width + UNIT - 1) / UNIT, each = (units + parts - 1) / parts;
  return {min(part * each, units), min((part + 1) * each, units)};
}

/**
 * A product with an inverse that is this near a whole number rounds as the quotient does: both are within 2^-21 of it, relatively,
 * and those above 15 are clamped either way.
 */
#define SURE 0.4999f

/** Added to a number below 2^22 and taken away again it leaves that, rounded to even. */
#define ROUNDING 12582912.0f

/** What a code is of; no number gives 0. */
DEVICE float clampedCode(float quotient) { return fminf(fmaxf(quotient, 0.0f), 15.0f); }
DEVICE float roundedCode(float clamped) { return __fsub_rn(__fadd_rn(clamped, ROUNDING), ROUNDING); }

/** Four codes, four bits each, the first lowest; those of columns past the last (`left` are there) are 0. */
DEVICE u32 packCodes(const float (&codes)[4], int left) {
  float held[4];
#pragma unroll
  for (int e = 0; e < 4; ++e) held[e] = e < left ? codes[e] : 0.0f;
  const float all = fmaf(4096.0f, held[3], fmaf(256.0f, held[2], fmaf(16.0f, held[1], held[0])));
  return static_cast<u32>(__float_as_int(all + 8388608.0f)) & 0xffffu;
}

/**
 * Codes of quads, 16 bits each, the first lowest. `exactly`: the step has no good inverse. All lanes of a warp, so that they divide
 * together or not.
 */
template <int QUADS>
DEVICE u32 codesOf(const float4 (&quads)[QUADS], const int (&left)[QUADS], float2 range, float inverse, bool exactly) {
  float above[QUADS][4];
  bool divides = false;
  u32 all = 0;
#pragma unroll
  for (int q = 0; q < QUADS; ++q) {
    const float values[4] = {quads[q].x, quads[q].y, quads[q].z, quads[q].w};
    float codes[4];
    bool sure = !exactly;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      above[q][e] = __fsub_rn(values[e], range.x);
      const float quotient = clampedCode(__fmul_rn(above[q][e], inverse));
      codes[e] = roundedCode(quotient);
      sure &= fabsf(quotient - codes[e]) < SURE;
    }
    divides |= !sure && left[q] > 0;
    all |= packCodes(codes, left[q]) << 16 * q;
  }
  if (__ballot_sync(FULL, divides) == 0) return all;
  all = 0;
#pragma unroll
  for (int q = 0; q < QUADS; ++q) {
    float codes[4];
#pragma unroll
    for (int e = 0; e < 4; ++e)
      codes[e] = range.y > 0 ? roundedCode(clampedCode(__fdiv_rn(above[q][e], range.y))) : 0.0f;
    all |= packCodes(codes, left[q]) << 16 * q;
  }
  return all;
}

/** Bit l of lane i becomes bit i of lane l. What a lane gets of another is turned to where it belongs. */
DEVICE u32 transposeBits(u32 x) {
#pragma unroll
  for (int apart = 16; apart > 0; apart >>= 1) {
    const bool isHigh = laneOf() & apart;
    const u32 low = FULL / ((1u << apart) + 1u), other = __shfl_xor_sync(FULL, x, apart);
    // As one number the rest is one instruction.
    const u32 kept = static_cast<u32>(forgotten(static_cast<int>(isHigh ? ~low : low)));
    x = (x & kept) | (__funnelshift_l(other, other, isHigh ? 32 - apart : apart) & ~kept);
  }
  return x;
}

/** Where a thread's first quad of a row is, and how far the next: a warp has a unit, a lane the columns of one bit. */
DEVICE int firstQuad(const RowArgs& a) { return warpOf() * UNIT + 4 * quadOf(a.layout, laneOf()); }
DEVICE int quadsApart() { return (blockDim.x >> 5) * UNIT; }

/** Values k to k + 3, k a multiple of 4: `placeIn` gives them four places side by side. */
DEVICE float4& quadAt(float* v, int k) { return *reinterpret_cast<float4*>(v + (placeIn(k) & ~3)); }

/** A quad in the order of `placeIn`, or out of it. */
DEVICE float4 reordered(const float4& r, int k) {
  const int order = placeIn(k) & 3;
  const float4 s = order & 1 ? make_float4(r.y, r.x, r.w, r.z) : r;
  return order & 2 ? make_float4(s.z, s.w, s.x, s.y) : s;
}

/** Whether codes can be made with one over their step. */
DEVICE bool hasInverse(float step) { return step > 1e-30f && step < 1e30f; }

/** Bit planes of a row's codes: a warp has two units at a time, a lane 16 bits of each. */
DEVICE void quantizeRow(float* v, float2 range, const RowArgs& a, UnitRange units, u32* planes) {
  const bool exactly = !hasInverse(range.y);
  const float inverse = exactly ? 0.0f : __fdividef(1.0f, range.y);
  const int warps = blockDim.x >> 5, lane = laneOf();
  int k = firstQuad(a) + units.first * UNIT;
#pragma unroll 1
  for (int unit = units.first + warpOf(); unit < units.end; unit += 2 * warps) {
    float4 quads[2];
    int left[2];
#pragma unroll
    for (int i = 0; i < 2; ++i, k += quadsApart()) {
      quads[i] = make_float4(0, 0, 0, 0);
      left[i] = unit + i * warps < units.end ? a.width - k : 0;
      if (left[i] <= 0) continue;
      quads[i] = quadAt(v, k);
      if (a.span > 0) quads[i] = reordered(quads[i], k);
    }
    const u32 words = transposeBits(codesOf(quads, left, range, inverse, exactly));
    const int mine = unit + (lane >> 4) * warps;
    if (mine < units.end) planes[mine * UNIT_PLANES + (lane & 15)] = words;
  }
}

/** Bits of part h of a unit in a word of a plane. */
DEVICE u32 partMask(int layout, int h) {
  return layout == LAYOUT_UNIT ? 0xffffffffu : layout == LAYOUT_HALF ? 0x0f0f0f0fu << 4 * h : 0x03030303u << 2 * h;
}

/** Codes as bytes and their sums, out of bit planes in shared memory; the planes too where there is a place for them. */
DEVICE void writeCodes(const u32* planes, float2 range, const RowArgs& a, int row, UnitRange units) {
  const uint4* const words = reinterpret_cast<const uint4*>(planes);
  const u64 at = static_cast<u64>(row) * ((a.width + UNIT - 1) / UNIT);
  for (int i = units.first * UNIT_WORDS + threadIdx.x; i < units.end * UNIT_WORDS; i += blockDim.x) {
    const int t = i >> 2 & 3, j = (i >> 4 & 1) * 4 + (i & 3);
    const uint4 p = words[(i >> 5) * 4 + t];
    const u32 ones = 0x01010101u;
    const u32 word = (p.x >> j & ones) | (p.y >> j & ones) << 1 | (p.z >> j & ones) << 2 | (p.w >> j & ones) << 3;
    a.codes[at * UNIT_WORDS + i] = word << (3 - (j & 3));
  }
  const int parts = a.layout == LAYOUT_UNIT ? 1 : a.layout == LAYOUT_HALF ? 2 : 4;
  for (int i = units.first * 4 + threadIdx.x; i < units.end * 4; i += blockDim.x) {
    if (row == 0 && a.planes) reinterpret_cast<uint4*>(a.planes)[i] = words[i];
    if ((i & 3) >= parts) continue;
    const u32 mask = partMask(a.layout, i & 3);
    int sum = 0;
    for (int t = 0; t < 4; ++t) {
      const uint4 p = words[(i & ~3) + t];
      sum += __popc(p.x & mask) + 2 * __popc(p.y & mask) + 4 * __popc(p.z & mask) + 8 * __popc(p.w & mask);
    }
    a.sums[at * 4 + i] = static_cast<float>(sum);
  }
  if (threadIdx.x == 0 && units.first == 0) {
    a.params[2 * row] = range.x;
    a.params[2 * row + 1] = range.y;
  }
}

/** The weight of a norm on its way to shared memory, to the threads that need it, before the row is there. */
DEVICE void copyNormWeight(float* weight, const RowArgs& a) {
  if (a.mode != ROW_NORM) return;
#pragma unroll 1
  for (int k = firstQuad(a); k < a.width; k += quadsApart()) copyAsync16(weight + k, a.y + k);
  commitCopies();
}

/** Zeros in the place of values past the end. */
DEVICE float4 clearedQuad(const float4& r, int k, int width) {
  return make_float4(r.x, k + 1 < width ? r.y : 0.0f, k + 2 < width ? r.z : 0.0f, k + 3 < width ? r.w : 0.0f);
}

/**
 * Of a norm: one over the root of the mean square, within 2 units in the last place of what the sum gives; a block of whole quads of warps.
 */
DEVICE float normScale(float squares, const RowArgs& a, RowShared& shared) {
  __syncwarp();
  squares = sumWarp(squares);
  if (laneOf() == 0) shared.squares[warpOf()] = squares;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int w = 0; w < MOST_WARPS; w += 4) {
    if (w >= static_cast<int>(blockDim.x >> 5)) break;
    const float4 four = *reinterpret_cast<const float4*>(shared.squares + w);
    sum += (four.x + four.y) + (four.z + four.w);
  }
  return rsqrtf(sum * a.inverseWidth + a.epsilon);
}

/**
 * Norm or gate and rotation of a row into v, which has a multiple of ROW_ALIGN floats: the values of a thread at their `quadAt`, for
 * itself alone, or a rotated row with value k at placeIn(k), for all. v is shared memory, or a row that only this block has
 * (`args.scratch`). `other`, in shared memory, is what `copyNormWeight` has brought, or has room for what is gated; null: both
 * are read where they are.
 */
DEVICE Extremes makeRow(const RowArgs& a, int row, float* v, float* other, RowShared& shared, bool writes) {
  const int width = a.width, apart = quadsApart(), begin = firstQuad(a);
  const bool turns = a.span > 0;
  const float* const x = a.x + static_cast<u64>(row) * a.strideX;
  const float* const y = a.mode == ROW_GATE ? a.y + static_cast<u64>(row) * a.strideY : a.y;
  float* const out = a.out && writes ? a.out + static_cast<u64>(row) * a.strideOut : nullptr;
#pragma unroll 1
  for (int k = begin; k < width; k += apart) {
    if (a.scratch) quadAt(v, k) = *reinterpret_cast<const float4*>(x + k);
    else copyAsync16(&quadAt(v, k), x + k);
    if (other && a.mode == ROW_GATE) copyAsync16(other + k, y + k);
  }
  commitCopies();
  waitForCopies<0>();
  // What the next kernel fetches first must not be in this one's way.
  beginNext();
  float scale = 1;
  if (a.mode == ROW_NORM) {
    float squares = 0;
#pragma unroll 1
    for (int k = begin; k < width; k += apart) {
      const float4 r = clearedQuad(quadAt(v, k), k, width);
      squares += r.x * r.x + r.y * r.y + r.z * r.z + r.w * r.w;
    }
    scale = normScale(squares, a, shared);
  }
  Extremes extremes;
#pragma unroll 1
  for (int k = begin; k < width; k += apart) {
    float4 r = quadAt(v, k);
    if (a.mode != ROW_COPY) {
      const float4 z = *reinterpret_cast<const float4*>(other ? other + k : y + k);
      if (a.mode == ROW_NORM) r = make_float4(r.x * scale * z.x, r.y * scale * z.y, r.z * scale * z.z, r.w * scale * z.w);
      else r = make_float4(gated(r.x, z.x), gated(r.y, z.y), gated(r.z, z.z), gated(r.w, z.w));
      // What lies past the end of a row is never read, so whole quads may be written.
      if (out) *reinterpret_cast<float4*>(out + k) = r;
    }
    include(extremes, r, k, width);
    if (turns) r = reordered(make_float4(signed_(r.x, k), signed_(r.y, k + 1), signed_(r.z, k + 2), signed_(r.w, k + 3)), k);
    if (turns || a.mode != ROW_COPY) quadAt(v, k) = r;
  }
  if (!turns) return extremes;
  __syncthreads();
  extremes = rotateRow(v, width, a.span, a.scale);
  if (a.rotated && writes)
    for (int k = threadIdx.x; k < width; k += blockDim.x)
      a.rotated[static_cast<u64>(row) * a.strideRotated + k] = v[placeIn(k)];
  return extremes;
}
