// What is done to one row at a time, a block a row: norm or gate, rotation, 4-bit codes. A chain of these is one launch; the
// row stays in shared memory between its links.
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

/** Offset and step of a row, docs/numerics.md "Activations"; every step one f32 operation. */
DEVICE float2 rangeOf(const float* v, const RowArgs& a, float* shared) {
  float least = INFINITE, most = -INFINITE, broken = 0;
  for (int k = threadIdx.x; k < a.width; k += blockDim.x) {
    const float x = v[k];
    least = fminf(least, x);
    most = fmaxf(most, x);
    if (!(x == x)) broken = 1;
  }
  least = -maxBlock(-least, shared);
  most = maxBlock(most, shared);
  broken = maxBlock(broken, shared);
  const float lo = __fmul_rn(a.clipLow, least);
  const float range = __fsub_rn(__fmul_rn(a.clipHigh, most), lo);
  if (broken > 0 || !(fabsf(range) < INFINITE)) return make_float2(NOT_A_NUMBER, NOT_A_NUMBER);
  return make_float2(lo, range > 0 ? __fdiv_rn(range, 15.0f) : 0.0f);
}

/** A warp writes a unit of codes, a lane the word (t, j). */
DEVICE void quantizeRow(const float* v, const RowArgs& a, int row, float* shared) {
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
    a.codes[(static_cast<u64>(row) * units + unit) * UNIT_WORDS + wordOf(t, j)] = word;
    sum += __shfl_xor_sync(FULL, sum, 8);
    sum += __shfl_xor_sync(FULL, sum, 16);
    sum += __shfl_xor_sync(FULL, sum, 1);
    if (a.layout != LAYOUT_QUARTER) sum += __shfl_xor_sync(FULL, sum, 2);
    if (a.layout == LAYOUT_UNIT) sum += __shfl_xor_sync(FULL, sum, 4);
    // Lanes 0, 2, 4, 6 hold the sums of the quarters, 0 and 4 those of the halves.
    const int parts = a.layout == LAYOUT_UNIT ? 1 : a.layout == LAYOUT_HALF ? 2 : 4, apart = 8 / parts;
    if (lane < 8 && lane % apart == 0)
      a.sums[(static_cast<u64>(row) * units + unit) * 4 + lane / apart] = static_cast<float>(sum);
  }
  if (threadIdx.x == 0) {
    a.params[2 * row] = lo;
    a.params[2 * row + 1] = step;
  }
}

DEVICE float gated(float gate, float up) { return __fdiv_rn(gate, 1.0f + expf(-gate)) * up; }

KERNEL(row_chain, RowArgs, 1024) {
  SHARED_BYTES(memory);
  SHARED(float, shared, 32);
  const int row = blockIdx.x, width = args.width;
  float* const v = args.scratch ? args.scratch + static_cast<u64>(row) * args.strideScratch
                                : reinterpret_cast<float*>(memory);
  const float* const x = args.x + static_cast<u64>(row) * args.strideX;
  float* const out = args.out ? args.out + static_cast<u64>(row) * args.strideOut : nullptr;
  float squares = 0;
  for (int k = 4 * threadIdx.x; k < width; k += 4 * blockDim.x) {
    float4 p = loadQuad(x, k, width);
    if (args.mode == ROW_NORM) squares += p.x * p.x + p.y * p.y + p.z * p.z + p.w * p.w;
    if (args.mode == ROW_GATE) {
      const float4 q = loadQuad(args.y + static_cast<u64>(row) * args.strideY, k, width);
      p = make_float4(gated(p.x, q.x), gated(p.y, q.y), gated(p.z, q.z), gated(p.w, q.w));
      // What lies past the end of a row is never read, so whole quads may be written.
      if (out) *reinterpret_cast<float4*>(out + k) = p;
    }
    *reinterpret_cast<float4*>(v + k) = p;
  }
  if (args.mode == ROW_NORM) {
    const float scale = __fdiv_rn(1.0f, __fsqrt_rn(sumBlock(squares, shared) / width + args.epsilon));
    for (int k = 4 * threadIdx.x; k < width; k += 4 * blockDim.x) {
      const float4 p = *reinterpret_cast<const float4*>(v + k), w = loadQuad(args.y, k, width);
      const float4 r = make_float4(p.x * scale * w.x, p.y * scale * w.y, p.z * scale * w.z, p.w * scale * w.w);
      *reinterpret_cast<float4*>(v + k) = r;
      if (out) *reinterpret_cast<float4*>(out + k) = r;
    }
  }
  __syncthreads();
  if (args.span > 0) {
    rotateRow(v, width, args.span, args.scale);
    if (args.rotated)
      for (int k = threadIdx.x; k < width; k += blockDim.x)
        args.rotated[static_cast<u64>(row) * args.strideRotated + k] = v[k];
  }
  if (args.codes) quantizeRow(v, args, row, shared);
}

struct DecodeArgs {
  const u32* codes;
  const float* params;
  float* out;
  int width;
  int stride;
  int layout;
};

/** What codes stand for: fl(lo + fl(step * code)). */
KERNEL(decode_codes, DecodeArgs, 256) {
  const int row = blockIdx.y, k = blockIdx.x * blockDim.x + threadIdx.x;
  if (k >= args.width) return;
  const int units = (args.width + UNIT - 1) / UNIT;
  int t, j, byte;
  placeOf(args.layout, k % UNIT, t, j, byte);
  const u32 bytes = args.codes[(static_cast<u64>(row) * units + k / UNIT) * UNIT_WORDS + wordOf(t, j)];
  const u32 code = (bytes >> (8 * byte) & 255u) >> (3 - (j & 3));
  const float lo = args.params[2 * row], step = args.params[2 * row + 1];
  args.out[static_cast<u64>(row) * args.stride + k] = __fadd_rn(lo, __fmul_rn(step, static_cast<float>(code)));
}

struct ColumnsArgs {
  const float* x;
  const int* columns;
  float* kept;
  float* taken;
  int width;
  int count;
  int strideX;
  int strideKept;
  int strideTaken;
};

KERNEL(take_columns, ColumnsArgs, 256) {
  const u64 row = blockIdx.x;
  const float* const x = args.x + row * args.strideX;
  for (int k = threadIdx.x; k < args.width; k += blockDim.x) args.kept[row * args.strideKept + k] = x[k];
  __syncthreads();
  for (int c = threadIdx.x; c < args.count; c += blockDim.x) {
    const int k = args.columns[c];
    args.taken[row * args.strideTaken + c] = x[k];
    args.kept[row * args.strideKept + k] = 0;
  }
}

struct AddArgs {
  const float* x;
  float* out;
  int width;
  int strideX;
  int strideOut;
};

KERNEL(add_rows, AddArgs, 256) {
  const int k = blockIdx.x * blockDim.x + threadIdx.x;
  if (k >= args.width) return;
  float* const out = args.out + static_cast<u64>(blockIdx.y) * args.strideOut + k;
  *out = __fadd_rn(*out, args.x[static_cast<u64>(blockIdx.y) * args.strideX + k]);
}

struct GramArgs {
  const float* x;
  const float* y;
  double* sums;
  int width;
  int rows;
  int strideX;
  int strideY;
};

/** sums[i][j] += sum over rows of x[i] y[j], in double precision. */
KERNEL(accumulate_gram, GramArgs, 256) {
  const u64 at = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= static_cast<u64>(args.width) * args.width) return;
  const int i = static_cast<int>(at / args.width), j = static_cast<int>(at % args.width);
  double sum = 0;
  for (int t = 0; t < args.rows; ++t)
    sum += static_cast<double>(args.x[static_cast<u64>(t) * args.strideX + i]) *
           static_cast<double>(args.y[static_cast<u64>(t) * args.strideY + j]);
  args.sums[at] += sum;
}
