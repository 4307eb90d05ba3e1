// The device side of the emulator: the words of CUDA C++ that the kernels use, for a C++ compiler. Threads of a block are
// fibers (fibers.h); whatever joins threads yields until all of them have come. Numbers are rounded as on the device:
// compile with -ffp-contract=off, so that only what says fmaf is fused.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "../../native/half.h"
#include "fibers.h"
#include "watch.h"

typedef uint8_t u8;
typedef int8_t i8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64;

struct uint4 {
  u32 x, y, z, w;
} __attribute__((aligned(16)));
struct uint2 {
  u32 x, y;
} __attribute__((aligned(8)));
struct float4 {
  float x, y, z, w;
} __attribute__((aligned(16)));
struct float2 {
  float x, y;
} __attribute__((aligned(8)));

#define DEVICE static inline
#define DEVICE_MEMBER inline
#define KERNEL(name, Args, threads)                                                                             \
  static void name##_body(const Args& args);                                                                    \
  static const emulator::Registration name##_registration(#name, sizeof(Args), threads, [](const void* p) {     \
    name##_body(*static_cast<const Args*>(p));                                                                  \
  });                                                                                                           \
  static void name##_body(const Args& args)
#define KERNEL_OF(name, Args, threads, blocks) KERNEL(name, Args, threads)
#define KERNEL_INDEXED(name, Args, threads) KERNEL(name, Args, threads)
#define KERNEL_INDEXED_OF(name, Args, threads, blocks) KERNEL(name, Args, threads)
#define SHARED(type, name, size)                                   \
  static emulator::SharedArray<type, (size)> name##_memory; \
  type* const name = name##_memory.values
#define SHARED_BYTES(name) char* const name = emulator::dynamicShared()

#define threadIdx (emulator::current().thread)
#define blockIdx (emulator::current().block)
#define blockDim (emulator::grid().blockSize)
#define gridDim (emulator::grid().blocks)

DEVICE float __int_as_float(u32 bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
DEVICE int __float_as_int(float value) {
  int bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
DEVICE float halfToFloat(u16 bits) { return duobit::halfToFloat(bits); }
DEVICE u16 floatToHalf(float value) { return duobit::floatToHalf(value); }

DEVICE float __fadd_rn(float a, float b) { return a + b; }
DEVICE float __fsub_rn(float a, float b) { return a - b; }
DEVICE float __fmul_rn(float a, float b) { return a * b; }
DEVICE float __fdiv_rn(float a, float b) { return a / b; }
/** As on the device: 0 where the divisor's reciprocal would be subnormal. */
DEVICE float __fdividef(float a, float b) { return std::fabs(b) > 8.5e37f ? 0.0f : a / b; }
DEVICE float __fsqrt_rn(float a) { return std::sqrt(a); }
DEVICE float rsqrtf(float a) { return 1.0f / std::sqrt(a); }
DEVICE int __clz(int x) { return x == 0 ? 32 : __builtin_clz(x); }
DEVICE u32 __funnelshift_l(u32 low, u32 high, u32 by) { return static_cast<u32>((static_cast<u64>(high) << 32 | low) << (by & 31) >> 32); }
DEVICE int __popc(u32 x) { return __builtin_popcount(x); }
DEVICE int min(int a, int b) { return a < b ? a : b; }
DEVICE int max(int a, int b) { return a > b ? a : b; }
DEVICE float2 make_float2(float x, float y) { return {x, y}; }
DEVICE float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
DEVICE uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }

DEVICE u32 __byte_perm(u32 a, u32 b, u32 selector) {
  const u64 bytes = static_cast<u64>(b) << 32 | a;
  u32 result = 0;
  for (int i = 0; i < 4; ++i) result |= static_cast<u32>(bytes >> (8 * (selector >> 4 * i & 7)) & 255) << 8 * i;
  return result;
}
DEVICE int dotBytes(u32 a, u32 b, int c) {
  for (int i = 0; i < 4; ++i) c += static_cast<i8>(a >> 8 * i) * static_cast<i8>(b >> 8 * i);
  return c;
}

/** Reads check the alignment that the device would demand. */
template <typename T>
DEVICE const T& aligned(const T* p) {
  if (reinterpret_cast<uintptr_t>(p) % sizeof(T) != 0) emulator::fault("misaligned load");
  return *p;
}
template <typename T>
DEVICE T __ldg(const T* p) {
  return aligned(p);
}
template <typename T>
DEVICE T __ldcg(const T* p) {
  return aligned(p);
}
/** Copies that go on by themselves are there at once: too early to find who does not wait for them. */
template <typename T>
DEVICE void copyAsync(void* to, const void* from) {
  if (reinterpret_cast<uintptr_t>(to) % sizeof(T) != 0) emulator::fault("misaligned copy");
  *static_cast<T*>(to) = aligned(static_cast<const T*>(from));
}
/** As a pointer. */
typedef char* SharedAt;
DEVICE SharedAt sharedAt(const void* p) { return const_cast<char*>(static_cast<const char*>(p)); }
template <typename T>
DEVICE void loadShared(T& v, SharedAt at) {
  v = aligned(reinterpret_cast<const T*>(at));
}
DEVICE void storeShared(SharedAt at, float v) { *reinterpret_cast<float*>(at) = v; }
DEVICE void copyAsync16(void* to, const void* from) { copyAsync<uint4>(to, from); }
DEVICE void copyAsync8(void* to, const void* from) { copyAsync<uint2>(to, from); }
DEVICE void copyAsync4(void* to, const void* from) { copyAsync<u32>(to, from); }
DEVICE void commitCopies() {}
template <int LATEST>
DEVICE void waitForCopies() {}
DEVICE uint4 loadStream(const uint4* p) { return aligned(p); }
DEVICE int forgotten(int value) { return value; }
DEVICE uint4 loadWhere(bool is, const uint4* p) { return is ? aligned(p) : uint4{0, 0, 0, 0}; }
DEVICE u32 loadWhere(bool is, const u32* p) { return is ? aligned(p) : 0; }
DEVICE u32 atomicAdd(u32* p, u32 v) { return emulator::atomicAdd(p, v); }
DEVICE void __threadfence() { emulator::watchFence(); }
#define HAS_OVERLAP 1
DEVICE void awaitInputs() { emulator::awaitInputs(); }
DEVICE void beginNext() { emulator::beginNext(); }
DEVICE void waitForInputs() {
  beginNext();
  awaitInputs();
}
#define __syncthreads() emulator::syncBlock(__LINE__)
#define __syncwarp() emulator::syncWarp(__LINE__)
#define __shfl_xor_sync(lanes, value, mask) shuffle(lanes, value, static_cast<int>(threadIdx.x & 31) ^ (mask), __LINE__)
#define __shfl_sync(lanes, value, lane) shuffle(lanes, value, lane, __LINE__)

template <typename T>
DEVICE T shuffle(u32 lanes, T value, int from, int line) {
  if (lanes != 0xffffffffu) emulator::fault("an exchange of a part of a warp");
  return emulator::exchange(value, from, line);
}

#define __ballot_sync(lanes, value) ballot(lanes, value, __LINE__)
#define __reduce_min_sync(lanes, value) reduceWarp(lanes, value, [](int a, int b) { return a < b ? a : b; }, __LINE__)
#define __reduce_max_sync(lanes, value) reduceWarp(lanes, value, [](int a, int b) { return a > b ? a : b; }, __LINE__)

DEVICE u32 ballot(u32 lanes, bool value, int line) {
  if (lanes != 0xffffffffu) emulator::fault("a vote of a part of a warp");
  const bool* const values = emulator::gather(value, line);
  u32 bits = 0;
  for (int i = 0; i < 32; ++i) bits |= static_cast<u32>(values[i]) << i;
  emulator::syncWarp(line);
  return bits;
}

template <typename Join>
DEVICE int reduceWarp(u32 lanes, int value, Join join, int line) {
  if (lanes != 0xffffffffu) emulator::fault("a reduction of a part of a warp");
  const int* const values = emulator::gather(value, line);
  int result = values[0];
  for (int i = 1; i < 32; ++i) result = join(result, values[i]);
  emulator::syncWarp(line);
  return result;
}

/** Fragments as PTX has them for m16n8k32: lane 4 g + t. */
DEVICE void multiplyTiles(int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  struct Fragments {
    u32 a[4], b[2];
  };
  const Fragments* const lanes = emulator::gather(Fragments{{a0, a1, a2, a3}, {b0, b1}}, __LINE__);
  const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  for (int o = 0; o < 4; ++o) {
    const int row = o >> 1, column = 2 * t + (o & 1);
    for (int other = 0; other < 4; ++other)
      for (int h = 0; h < 2; ++h)
        c[o] = dotBytes(lanes[4 * g + other].a[2 * h + row], lanes[4 * column + other].b[h], c[o]);
  }
  emulator::syncWarp(__LINE__);
}

DEVICE void multiplyTilesFrom(int start, int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  c[0] = c[1] = c[2] = c[3] = start;
  multiplyTiles(c, a0, a1, a2, a3, b0, b1);
}

/** Of single bits: a lane has words t and 4 + t of rows g and g + 8, and of column g. */
DEVICE void multiplyBits(int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  struct Fragments {
    u32 a[4], b[2];
  };
  const Fragments* const lanes = emulator::gather(Fragments{{a0, a1, a2, a3}, {b0, b1}}, __LINE__);
  const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  for (int o = 0; o < 4; ++o)
    for (int other = 0; other < 4; ++other)
      for (int h = 0; h < 2; ++h)
        c[o] += __popc(lanes[4 * g + other].a[2 * h + (o >> 1)] & lanes[4 * (2 * t + (o & 1)) + other].b[h]);
  emulator::syncWarp(__LINE__);
}

DEVICE void multiplyBits(int (&c)[4], u32 a0, u32 a1, u32 b) { multiplyBits(c, a0, a1, 0, 0, b, 0); }
