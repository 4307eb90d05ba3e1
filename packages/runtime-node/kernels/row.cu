// Kernels over rows: the chain of norm or gate, rotation and codes, and what stays a launch of its own.
#include "row.cuh"

/** A chain as a launch of its own. Several blocks may make the same row, and each a part of its codes. */
KERNEL(row_chain, RowArgs, 512) {
  SHARED_BYTES(memory);
  SHARED(RowShared, shared, 1);
  awaitInputs();
  const int row = blockIdx.x, part = blockIdx.y;
  // Planes first: they are written as vectors.
  u32* const planes = reinterpret_cast<u32*>(memory);
  float* const v = args.scratch ? args.scratch + static_cast<u64>(row) * args.strideScratch
                                : reinterpret_cast<float*>(planes + (args.codes ? (args.width + UNIT - 1) / UNIT : 0) * UNIT_PLANES);
  const Extremes extremes = makeRow(args, row, v, nullptr, *shared, part == 0);
  if (!args.codes) return;
  const float2 range = rangeOf(extremes, args, *shared);
  const UnitRange units = unitsOfPart(args.width, part, gridDim.y);
  quantizeRow(v, range, args, units, planes);
  __syncthreads();
  writeCodes(planes, range, args, row, units);
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
  waitForInputs();
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
  waitForInputs();
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
  waitForInputs();
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
  waitForInputs();
  const u64 at = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= static_cast<u64>(args.width) * args.width) return;
  const int i = static_cast<int>(at / args.width), j = static_cast<int>(at % args.width);
  double sum = 0;
  for (int t = 0; t < args.rows; ++t)
    sum += static_cast<double>(args.x[static_cast<u64>(t) * args.strideX + i]) *
           static_cast<double>(args.y[static_cast<u64>(t) * args.strideY + j]);
  args.sums[at] += sum;
}
