// Brings the planes of a container into the layouts of the kernels, once, when a program is prepared.
#include "layout.cuh"

struct PackBitsArgs {
  const u32* sign;
  const u32* bitmap;
  uint4* bits;
  int rows;
  int width;
  /** Units that are stored, zeros past the last column among them. */
  int units;
  int layout;
};

/** Every fourth bit, the lowest among them, side by side. */
DEVICE u32 everyFourth(u32 x) {
  x &= 0x11111111u;
  x = (x | x >> 3) & 0x03030303u;
  x = (x | x >> 6) & 0x000f000fu;
  return (x | x >> 12) & 0xffu;
}

/** Word t of a unit of a row, in the order of the layout; bits that are no weights are 0. */
DEVICE u32 gatherWord(const u32* plane, const PackBitsArgs& a, int row, int unit, int t) {
  if (row >= a.rows) return 0;
  const u64 words = (a.width + 31) / 32;
  const u32* const from = plane + row * words;
  u32 word = 0;
  if (a.layout == LAYOUT_UNIT) {
    for (int i = 0; i < 4; ++i) {
      const int first = unit * UNIT + 32 * i, left = a.width - first;
      const u32 held = left <= 0 ? 0 : left >= 32 ? from[first >> 5] : from[first >> 5] & ((1u << left) - 1);
      word |= everyFourth(held >> t) << 8 * i;
    }
    return word;
  }
  for (int j = 0; j < 8; ++j)
    for (int b = 0; b < 4; ++b) {
      const int k = unit * UNIT + columnOf(a.layout, t, j, b);
      if (k < a.width) word |= (from[k >> 5] >> (k & 31) & 1u) << (8 * b + j);
    }
  return word;
}

KERNEL(pack_bits, PackBitsArgs, 256) {
  waitForInputs();
  const u64 at = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int lane = static_cast<int>(at & 31), unit = static_cast<int>((at >> 5) % args.units);
  const int tile = static_cast<int>((at >> 5) / args.units), row = tile * TILE_ROWS + (lane >> 2), t = lane & 3;
  if (tile * TILE_ROWS >= args.rows) return;
  uint4 v;
  v.x = gatherWord(args.sign, args, row, unit, t);
  v.y = gatherWord(args.bitmap, args, row, unit, t);
  v.z = gatherWord(args.sign, args, row + 8, unit, t);
  v.w = gatherWord(args.bitmap, args, row + 8, unit, t);
  args.bits[at] = v;
}

struct PackLevelsArgs {
  const u16* alpha;
  /** Null without offsets. */
  const u16* mu;
  const u32* sign;
  const u32* bitmap;
  u16* levels;
  float* rowSums;
  int rows;
  int width;
  int groupSize;
  /** Groups that are stored, zeros past the last among them. */
  int groups;
};

/** A warp a row, padding rows included: levels by tile, and the sum of the row's weights. */
KERNEL(pack_levels, PackLevelsArgs, 256) {
  waitForInputs();
  const int row = blockIdx.x * 8 + warpOf(), lane = laneOf();
  const int held = (args.width + args.groupSize - 1) / args.groupSize, each = args.mu ? 4 : 2;
  const u64 words = (args.width + 31) / 32;
  double total = 0;
  for (int g = lane; g < args.groups; g += 32) {
    u16* const to = args.levels + ((static_cast<u64>(row / TILE_ROWS) * args.groups + g) * TILE_ROWS + row % TILE_ROWS) * each;
    if (row >= args.rows || g >= held) {
      for (int i = 0; i < each; ++i) to[i] = 0;
      continue;
    }
    const u64 pair = (static_cast<u64>(row) * held + g) * 2;
    float alpha[2], mu[2] = {0, 0};
    for (int m = 0; m < 2; ++m) {
      to[m] = args.alpha[pair + m];
      alpha[m] = halfToFloat(to[m]);
      if (!args.mu) continue;
      to[2 + m] = args.mu[pair + m];
      mu[m] = halfToFloat(to[2 + m]);
    }
    int signs = 0, second = 0, both = 0;
    const int end = min(args.width, (g + 1) * args.groupSize);
    for (int k = g * args.groupSize; k < end; k += 32) {
      const u32 mask = end - k >= 32 ? FULL : (1u << (end - k)) - 1;
      const u32 s = args.sign[row * words + (k >> 5)] & mask, m = args.bitmap[row * words + (k >> 5)] & mask;
      signs += __popc(s);
      second += __popc(m);
      both += __popc(s & m);
    }
    const int first = end - g * args.groupSize - second;
    total += static_cast<double>(mu[0]) * first + static_cast<double>(alpha[0]) * (2 * (signs - both) - first);
    total += static_cast<double>(mu[1]) * second + static_cast<double>(alpha[1]) * (2 * both - second);
  }
#pragma unroll
  for (int i = 16; i > 0; i >>= 1) total += __shfl_xor_sync(FULL, total, i);
  if (lane == 0 && row < args.rows) args.rowSums[row] = static_cast<float>(total);
}

struct PackRowsArgs {
  const u8* from;
  u8* to;
  int rows;
  int fromBytes;
  int toBytes;
};

/** Rows of bytes, padded with zeros. */
KERNEL(pack_rows, PackRowsArgs, 256) {
  waitForInputs();
  const u64 at = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x;
  const u64 row = at / args.toBytes;
  const int byte = static_cast<int>(at % args.toBytes);
  if (row >= static_cast<u64>(args.rows)) return;
  args.to[at] = byte < args.fromBytes ? args.from[row * args.fromBytes + byte] : 0;
}

struct PackVectorArgs {
  const u8* from;
  float* to;
  int width;
  int stored;
  /** 0 f32, 1 f16, 2 bf16. */
  int kind;
};

/** A vector as f32, padded with zeros. */
KERNEL(pack_vector, PackVectorArgs, 256) {
  waitForInputs();
  const int k = blockIdx.x * blockDim.x + threadIdx.x;
  if (k >= args.stored) return;
  float v = 0;
  if (k < args.width) {
    if (args.kind == 0) v = reinterpret_cast<const float*>(args.from)[k];
    else {
      const u16 bits = reinterpret_cast<const u16*>(args.from)[k];
      v = args.kind == 1 ? halfToFloat(bits) : __int_as_float(static_cast<u32>(bits) << 16);
    }
  }
  args.to[k] = v;
}
