// A row in shared memory, in an order that few banks mind, its extremes, and its rotation: signs and Walsh-Hadamard transforms.
#pragma once
#include "layout.cuh"

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
 * three stages as there can be, and these as even as can be.
 */
DEVICE void transform(float* v, int offset, int length, float scale, bool looks, Extremes& seen) {
  int shift = 0, left = 31 - __clz(length);
#pragma unroll 1
  do {
    const int passes = (left + 2) / 3, bits = passes == 0 ? 0 : (left + passes - 1) / passes;
    if (bits == 3) crossPass<3>(v, offset, length, shift, scale, looks, seen);
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
