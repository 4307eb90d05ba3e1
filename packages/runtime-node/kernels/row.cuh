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

/** f32 as integers in the same order; what is not a number comes below all others or above. */
DEVICE int orderOf(float x) {
  const int bits = __float_as_int(x);
  return bits ^ (bits >> 31 & 0x7fffffff);
}
DEVICE float valueOf(int order) { return __int_as_float(order ^ (order >> 31 & 0x7fffffff)); }

/** Least and greatest of the values a thread has seen, as `orderOf` has them. */
struct Extremes {
  int least = 0x7fffffff, most = static_cast<int>(0x80000000u);
};

DEVICE void include(Extremes& e, float x) {
  const int order = orderOf(x);
  e.least = min(e.least, order);
  e.most = max(e.most, order);
}

/**
 * Sums and differences of R = 2^BITS values that 2^shift lie between, BITS stages of a transform of `length` values from
 * `offset` on; each a single f32 operation. The last are scaled and may be looked at.
 */
template <int BITS>
DEVICE void crossPass(float* v, int offset, int length, int shift, float scale, bool looks, Extremes& seen) {
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
      if (isLast && looks) include(seen, a[r]);
      row[at[r]] = a[r];
    }
  }
  __syncthreads();
}

/**
 * The orthonormal Walsh-Hadamard transform in the format's order of stages; `length` is a power of two. As few passes of at most
 * four stages as there can be, and these as even as can be.
 */
DEVICE void transform(float* v, int offset, int length, float scale, bool looks, Extremes& seen) {
  int shift = 0, left = 31 - __clz(length);
#pragma unroll 1
  do {
    const int passes = (left + 3) / 4, bits = passes == 0 ? 0 : (left + passes - 1) / passes;
    if (bits == 4) crossPass<4>(v, offset, length, shift, scale, looks, seen);
    else if (bits == 3) crossPass<3>(v, offset, length, shift, scale, looks, seen);
    else if (bits == 2) crossPass<2>(v, offset, length, shift, scale, looks, seen);
    else if (bits == 1) crossPass<1>(v, offset, length, shift, scale, looks, seen);
    else crossPass<0>(v, offset, length, shift, scale, looks, seen);
    shift += bits;
    left -= bits;
  } while (left > 0);
}

/** Of values that have the first signs already; gives the extremes of the results. */
DEVICE Extremes rotateRow(float* v, int width, int span, float scale) {
  Extremes extremes;
  const int rest = width - span;
  // One copy of the code: a launch reads most of it once.
#pragma unroll 1
  for (int offset = 0; offset <= rest; offset += rest > 0 ? rest : 1) {
    if (offset > 0) {
      for (int k = threadIdx.x; k < width; k += blockDim.x) {
        const float x = signed_(v[placeIn(k)], 5u * k);
        if (k < rest) include(extremes, x);
        v[placeIn(k)] = x;
      }
      __syncthreads();
    }
    transform(v, offset, span, scale, offset == rest, extremes);
  }
  return extremes;
}

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

/** Offset and step of a row, docs/numerics.md "Activations"; every step one f32 operation. The row is there for all after it. */
DEVICE float2 rangeOf(const Extremes& e, const RowArgs& a, RowShared& shared) {
  const int lane = laneOf(), warps = blockDim.x >> 5;
  const int least = __reduce_min_sync(FULL, e.least), most = __reduce_max_sync(FULL, e.most);
  if (lane == 0) {
    shared.least[warpOf()] = least;
    shared.most[warpOf()] = most;
  }
  __syncthreads();
  const int last = lane < warps ? lane : 0;
  const float low = valueOf(__reduce_min_sync(FULL, shared.least[last]));
  const float high = valueOf(__reduce_max_sync(FULL, shared.most[last]));
  const float lo = __fmul_rn(a.clipLow, low), range = __fsub_rn(__fmul_rn(a.clipHigh, high), lo);
  // So it is where a value is infinite or no number.
  if (!(fabsf(range) < INFINITE)) return make_float2(NOT_A_NUMBER, NOT_A_NUMBER);
  return make_float2(lo, range > 0 ? __fdiv_rn(range, 15.0f) : 0.0f);
}

/**
 * A product with an inverse that is this near a whole number rounds as the quotient does: both are within 2^-22 of it, relatively,
 * and those above 16 are clamped either way.
 */
#define SURE 0.4999f

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

/** Bit planes of a row's codes, of a row in shared or device memory. A warp votes on 32 columns, a lane each. */
DEVICE void quantizeRow(const float* v, float2 range, const RowArgs& a, UnitRange units, u32* planes) {
  const float lo = range.x, step = range.y;
  const int lane = laneOf(), warps = blockDim.x >> 5;
  // A quotient is only divided for where the product with the inverse lies near the middle of two codes, or the inverse is poor.
  const float inverse = step > 1e-30f && step < 1e30f ? __fdiv_rn(1.0f, step) : NOT_A_NUMBER;
  for (int chunk = 4 * units.first + warpOf(); chunk < 4 * units.end; chunk += warps) {
    const int k = (chunk >> 2) * UNIT + columnOf(a.layout, chunk & 3, lane & 7, lane >> 3);
    u32 code = 0;
    if (k < a.width && step > 0) {
      const float above = __fsub_rn(v[placeIn(k)], lo);
      float quotient = __fmul_rn(above, inverse);
      if (!(fabsf(quotient - rintf(quotient)) < SURE)) quotient = __fdiv_rn(above, step);
      code = static_cast<u32>(fminf(fmaxf(rintf(quotient), 0.0f), 15.0f));
    }
    uint4 words;
    words.x = __ballot_sync(FULL, (code & 1u) != 0);
    words.y = __ballot_sync(FULL, (code & 2u) != 0);
    words.z = __ballot_sync(FULL, (code & 4u) != 0);
    words.w = __ballot_sync(FULL, (code & 8u) != 0);
    if (lane == 0) reinterpret_cast<uint4*>(planes)[chunk] = words;
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

/** Quads of a row that a thread holds in registers. */
#define ROW_QUADS 2

/** A norm's weight, as far as a thread holds it before the row is there. */
struct NormWeight {
  float4 quads[ROW_QUADS];
};

DEVICE void loadNormWeight(NormWeight& w, const RowArgs& a) {
  if (a.mode != ROW_NORM) return;
#pragma unroll
  for (int i = 0; i < ROW_QUADS; ++i) {
    const int k = 4 * (threadIdx.x + i * blockDim.x);
    if (k < a.width) w.quads[i] = loadQuad(a.y, k, a.width);
  }
}

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

DEVICE float squareOf(const float4& r) { return r.x * r.x + r.y * r.y + r.z * r.z + r.w * r.w; }

/** Of a norm: one over the root of the mean square; a block of whole quads of warps. */
DEVICE float normScale(float squares, const RowArgs& a, RowShared& shared) {
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
  return __fdiv_rn(1.0f, __fsqrt_rn(sum / a.width + a.epsilon));
}

/**
 * Norm or gate and rotation of a row into v, which is shared memory or a row that only this block has, of a multiple of
 * ROW_ALIGN floats; value k lies at placeIn(k). Threads have every quad that is theirs; v is there for others after a barrier.
 */
DEVICE Extremes makeRow(const RowArgs& a, int row, float* v, RowShared& shared, const NormWeight& weight, bool writes) {
  const int width = a.width, step = 4 * blockDim.x, begin = 4 * threadIdx.x;
  const bool turns = a.span > 0;
  const float* const x = a.x + static_cast<u64>(row) * a.strideX;
  float* const out = a.out && writes ? a.out + static_cast<u64>(row) * a.strideOut : nullptr;
  Extremes extremes;
  const auto put = [&](int k, const float4& r) {
    include(extremes, r, k, width);
    putQuad(v, k, r, turns);
    // What lies past the end of a row is never read, so whole quads may be written.
    if (out) *reinterpret_cast<float4*>(out + k) = r;
  };
  float4 p[ROW_QUADS];
  if (a.mode == ROW_NORM) {
    float squares = 0;
#pragma unroll
    for (int i = 0; i < ROW_QUADS; ++i)
      if (begin + i * step < width) p[i] = loadQuad(x, begin + i * step, width);
#pragma unroll
    for (int i = 0; i < ROW_QUADS; ++i)
      if (begin + i * step < width) squares += squareOf(p[i]);
    // What registers have no room for.
    for (int k = begin + ROW_QUADS * step; k < width; k += step) {
      const float4 r = loadQuad(x, k, width);
      squares += squareOf(r);
      putQuad(v, k, r, false);
    }
    const float scale = normScale(squares, a, shared);
    const auto norm = [&](const float4& r, const float4& w) {
      return make_float4(r.x * scale * w.x, r.y * scale * w.y, r.z * scale * w.z, r.w * scale * w.w);
    };
#pragma unroll
    for (int i = 0; i < ROW_QUADS; ++i)
      if (begin + i * step < width) put(begin + i * step, norm(p[i], weight.quads[i]));
    for (int k = begin + ROW_QUADS * step; k < width; k += step) put(k, norm(takeQuad(v, k), loadQuad(a.y, k, width)));
  } else {
    const float* const y = a.mode == ROW_GATE ? a.y + static_cast<u64>(row) * a.strideY : nullptr;
    for (int base = begin; base < width; base += ROW_QUADS * step) {
      float4 q[ROW_QUADS];
#pragma unroll
      for (int i = 0; i < ROW_QUADS; ++i) {
        const int k = base + i * step;
        if (k >= width) break;
        p[i] = loadQuad(x, k, width);
        if (y) q[i] = loadQuad(y, k, width);
      }
#pragma unroll
      for (int i = 0; i < ROW_QUADS; ++i) {
        const int k = base + i * step;
        if (k >= width) break;
        const float4 r = p[i];
        put(k, y ? make_float4(gated(r.x, q[i].x), gated(r.y, q[i].y), gated(r.z, q[i].z), gated(r.w, q[i].w)) : r);
      }
    }
  }
  if (!turns) return extremes;
  __syncthreads();
  extremes = rotateRow(v, width, a.span, a.scale);
  if (a.rotated && writes)
    for (int k = threadIdx.x; k < width; k += blockDim.x)
      a.rotated[static_cast<u64>(row) * a.strideRotated + k] = v[placeIn(k)];
  return extremes;
}
