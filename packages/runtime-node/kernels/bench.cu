// What benchmarks compare kernels with: how fast memory copies and reads, and how fast tensor cores multiply.
#include "common.cuh"

struct CopyArgs {
  const uint4* from;
  uint4* to;
  u64 count;
};

/** What memory can move at most, measured with the same tools as everything else. */
KERNEL(copy_bytes, CopyArgs, 256) {
  waitForInputs();
  const u64 stride = static_cast<u64>(gridDim.x) * blockDim.x;
  for (u64 i = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x; i < args.count; i += stride) args.to[i] = args.from[i];
}

/** Reads only, which is what a matvec does. */
KERNEL(read_bytes, CopyArgs, 256) {
  waitForInputs();
  const u64 stride = static_cast<u64>(gridDim.x) * blockDim.x;
  uint4 all = make_uint4(0, 0, 0, 0);
  u64 i = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i + 3 * stride < args.count; i += 4 * stride) {
    const uint4 a = args.from[i], b = args.from[i + stride], c = args.from[i + 2 * stride], d = args.from[i + 3 * stride];
    all.x ^= a.x ^ b.x ^ c.x ^ d.x;
    all.y ^= a.y ^ b.y ^ c.y ^ d.y;
    all.z ^= a.z ^ b.z ^ c.z ^ d.z;
    all.w ^= a.w ^ b.w ^ c.w ^ d.w;
  }
  for (; i < args.count; i += stride) all.x ^= args.from[i].x;
  // Never so; but the compiler cannot know.
  if ((all.x | all.y | all.z | all.w) == 0x12345678u) args.to[0] = all;
}

struct RateArgs {
  int* out;
  int rounds;
};

/** 12 products a round and warp, with nothing else in the way. */
template <typename Multiply>
DEVICE void multiplyOften(const RateArgs& args, const Multiply& multiply) {
  int c[12][4] = {};
  const u32 a = threadIdx.x * 0x01030507u, b = threadIdx.x * 0x02040608u + 1;
  for (int i = 0; i < args.rounds; ++i)
#pragma unroll
    for (int k = 0; k < 12; ++k) multiply(c[k], a, b);
  int sum = 0;
#pragma unroll
  for (int k = 0; k < 12; ++k) sum += c[k][0] ^ c[k][1] ^ c[k][2] ^ c[k][3];
  if (sum == 0x7654321) args.out[0] = sum;
}

/** How fast tensor cores multiply bytes by way of mma.sync. */
KERNEL(mma_rate, RateArgs, 256) {
  multiplyOften(args, [](int (&c)[4], u32 a, u32 b) { multiplyTiles(c, a, a ^ 1, a ^ 2, a ^ 3, b, b ^ 1); });
}

/** The same of bits, 256 columns at a time. */
KERNEL(bits_rate, RateArgs, 256) {
  multiplyOften(args, [](int (&c)[4], u32 a, u32 b) { multiplyBits(c, a, a ^ 1, a ^ 2, a ^ 3, b, b ^ 1); });
}
