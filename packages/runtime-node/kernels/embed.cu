// What runs begin with: the request of one that decodes, and the rows of its tokens.
#include "layout.cuh"

struct RequestArgs {
  /** Memory of the host: a token of each row, then what the run is about. */
  const int* request;
  int* tokens;
  /** RunState, or RowPlace of each row. */
  int* about;
  int rows;
  int words;
};

/** What decoding runs begin with, in place of copies from the host. */
KERNEL(take_request, RequestArgs, 256) {
  waitForInputs();
  const volatile int* const request = args.request;
  // All in one loop: what a thread asks the host for it waits for, about a microsecond, before it asks again.
  for (int i = threadIdx.x; i < args.rows + args.words; i += blockDim.x)
    *(i < args.rows ? args.tokens + i : args.about + (i - args.rows)) = request[i];
}

struct EmbedArgs {
  const int* tokens;
  const u8* weights;
  const u16* scales;
  float* out;
  int width;
  int rowBytes;
  int groupSize;
  int groups;
  int strideOut;
  int kind;
};

DEVICE float valueAt(const EmbedArgs& a, u64 row, int k) {
  const u8* const p = a.weights + row * a.rowBytes;
  if (a.kind == DENSE_F32) return reinterpret_cast<const float*>(p)[k];
  if (a.kind == DENSE_F16) return halfToFloat(reinterpret_cast<const u16*>(p)[k]);
  if (a.kind == DENSE_BF16) return __int_as_float(static_cast<u32>(reinterpret_cast<const u16*>(p)[k]) << 16);
  const int code = a.kind == DENSE_INT8 ? static_cast<int>(reinterpret_cast<const i8*>(p)[k])
                                        : static_cast<int>((p[k >> 1] >> 4 * (k & 1) & 15) ^ 8) - 8;
  return __fmul_rn(halfToFloat(a.scales[row * a.groups + k / a.groupSize]), static_cast<float>(code));
}

/** Row t of the output is the weight's row of token t: exact. */
KERNEL(embed, EmbedArgs, 256) {
  // In this order: kernels that look before they wait at what begins a run, its position, begin when that has ended.
  awaitInputs();
  beginNext();
  const int k = blockIdx.x * blockDim.x + threadIdx.x;
  if (k >= args.width) return;
  const u64 row = static_cast<u64>(args.tokens[blockIdx.y]);
  args.out[static_cast<u64>(blockIdx.y) * args.strideOut + k] = valueAt(args, row, k);
}
