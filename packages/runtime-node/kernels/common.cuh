// What all kernels share. Compiled by NVRTC or nvcc for the device, and by a C++ compiler for the emulator, which
// gives the same names another meaning (emulator/device.h). Needs no header of the CUDA toolkit.
#pragma once

#ifdef DUOBIT_EMULATOR
#include "emulator/device.h"
#else

typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define DEVICE static __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__
/** A kernel takes one struct by value: pointers first, then 32-bit numbers, so that the host can write it down. */
#define KERNEL(name, Args, threads) extern "C" __global__ void __launch_bounds__(threads) name(const Args args)
/** The same, with registers for so many blocks on a multiprocessor. */
#define KERNEL_OF(name, Args, threads, blocks) \
  extern "C" __global__ void __launch_bounds__(threads, blocks) name(const Args args)
/** Both, with arguments that may be indexed without a copy of them in local memory. */
#define KERNEL_INDEXED(name, Args, threads) \
  extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Args args)
#define KERNEL_INDEXED_OF(name, Args, threads, blocks) \
  extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ Args args)
#define SHARED(type, name, size) __shared__ type name[size]
/** Memory whose size the launch gives; 16-byte aligned. */
#define SHARED_BYTES(name)              \
  extern __shared__ uint4 dynamicShared[]; \
  char* const name = reinterpret_cast<char*>(dynamicShared)

DEVICE float halfToFloat(u16 bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

/** To nearest, ties to even. */
DEVICE u16 floatToHalf(float value) {
  u16 bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

/** c += a b for a 16 x 32, b 32 x 8, of signed bytes; PTX "Matrix fragments for mma.m16n8k32" says who holds what. */
DEVICE void multiplyTiles(int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/** The same with sums that all begin at one number. */
DEVICE void multiplyTilesFrom(int start, int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
      : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "r"(start));
}

/** c += bits that a and b both have, a 16 x 256, b 256 x 8; PTX "Matrix fragments for mma.m16n8k256". */
DEVICE void multiplyBits(int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/** The same of 128 columns, a 16 x 128. */
DEVICE void multiplyBits(int (&c)[4], u32 a0, u32 a1, u32 b) {
  asm("mma.sync.aligned.m16n8k128.row.col.s32.b1.b1.s32.and.popc {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(b));
}

/** A number that the compiler knows nothing of: what follows from it is computed from here on, and not kept from before. */
DEVICE int forgotten(int value) {
  asm volatile("" : "+r"(value));
  return value;
}

/** An address in shared memory that stays in a register. Of a pointer the compiler makes one at each use, and waits for the block's base. */
typedef u32 SharedAt;
DEVICE SharedAt sharedAt(const void* p) {
  return static_cast<u32>(forgotten(static_cast<int>(__cvta_generic_to_shared(p))));
}
DEVICE void loadShared(uint4& v, SharedAt at) {
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(at) : "memory");
}
DEVICE void loadShared(uint2& v, SharedAt at) {
  asm volatile("ld.shared.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(at) : "memory");
}
DEVICE void loadShared(u32& v, SharedAt at) { asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(at) : "memory"); }
DEVICE void loadShared(float& v, SharedAt at) { asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(at) : "memory"); }
DEVICE void storeShared(SharedAt at, float v) { asm volatile("st.shared.f32 [%0], %1;" ::"r"(at), "f"(v) : "memory"); }

/** Copies to shared memory that go on by themselves, of 16 bytes past L1, of 8 or of 4. */
DEVICE void copyAsync16(SharedAt to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
DEVICE void copyAsync8(SharedAt to, const void* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(to), "l"(from) : "memory");
}
DEVICE void copyAsync4(SharedAt to, const void* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(from) : "memory");
}
DEVICE void copyAsync16(void* to, const void* from) {
  copyAsync16(static_cast<SharedAt>(__cvta_generic_to_shared(to)), from);
}
DEVICE void copyAsync4(void* to, const void* from) {
  copyAsync4(static_cast<SharedAt>(__cvta_generic_to_shared(to)), from);
}

/** Makes one group of the thread's copies since the last. */
DEVICE void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/** Waits for all of the thread's groups but the latest so many; a barrier shows what they brought to the other threads. */
template <int LATEST>
DEVICE void waitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(LATEST) : "memory");
}

/** Whether launches overlap: Hopper and later. */
#define HAS_OVERLAP (__CUDA_ARCH__ >= 900)

/**
 * Kernels may start before the one before them has ended: whatever that writes or still reads is left alone until here. The
 * next one may start as soon as all blocks of this have come to `beginNext`, or have ended.
 */
DEVICE void awaitInputs() {
#if HAS_OVERLAP
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
DEVICE void beginNext() {
#if HAS_OVERLAP
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
DEVICE void waitForInputs() {
  beginNext();
  awaitInputs();
}

/** Weights are read once: they need not stay in L1. */
DEVICE uint4 loadStream(const uint4* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}

/** By way of L2 alone, or zeros; without a branch, so that many are on their way at once, and none waits for the inputs. */
DEVICE uint4 loadWhere(bool is, const uint4* p) {
  uint4 v = make_uint4(0, 0, 0, 0);
  asm volatile("{.reg .pred is; setp.ne.u32 is, %5, 0; @is ld.global.cg.v4.u32 {%0,%1,%2,%3}, [%4];}"
               : "+r"(v.x), "+r"(v.y), "+r"(v.z), "+r"(v.w)
               : "l"(p), "r"(is ? 1u : 0u));
  return v;
}
DEVICE u32 loadWhere(bool is, const u32* p) {
  u32 v = 0;
  asm volatile("{.reg .pred is; setp.ne.u32 is, %2, 0; @is ld.global.cg.u32 %0, [%1];}" : "+r"(v) : "l"(p), "r"(is ? 1u : 0u));
  return v;
}

#endif

#define FULL 0xffffffffu
#define INFINITE __int_as_float(0x7f800000)
#define NOT_A_NUMBER __int_as_float(0x7fffffff)

/** Slots: rows of this many floats' multiple, so that quads of floats never straddle rows. */
#define ROW_ALIGN 32

/** What a run is about, in device memory so that a captured graph serves every position. */
struct RunState {
  int position;
  int rows;
};

/** Of a run of several sequences, one of these a row in the place of RunState. */
struct RowPlace {
  int position;
  int sequence;
};

template <bool SEVERAL>
DEVICE RowPlace placeOfRow(const RunState* state, int row) {
  if (SEVERAL) return reinterpret_cast<const RowPlace*>(state)[row];
  return {state->position + row, 0};
}

DEVICE int laneOf() { return threadIdx.x & 31; }
DEVICE int warpOf() { return threadIdx.x >> 5; }

DEVICE float sumWarp(float v) {
#pragma unroll
  for (int i = 16; i > 0; i >>= 1) v += __shfl_xor_sync(FULL, v, i);
  return v;
}
DEVICE float maxWarp(float v) {
#pragma unroll
  for (int i = 16; i > 0; i >>= 1) v = fmaxf(v, __shfl_xor_sync(FULL, v, i));
  return v;
}
/** f32 as integers in the same order; what is not a number comes below all others or above. */
DEVICE int orderOf(float x) {
  const int bits = __float_as_int(x);
  return bits ^ (bits >> 31 & 0x7fffffff);
}
DEVICE float valueOf(int order) { return __int_as_float(order ^ (order >> 31 & 0x7fffffff)); }

/** Of numbers that are none of them NaN: in one instruction, where `maxWarp` has five exchanges one after the other. */
DEVICE float maxOrdered(float v) { return valueOf(__reduce_max_sync(FULL, orderOf(v))); }
DEVICE float minWarp(float v) {
#pragma unroll
  for (int i = 16; i > 0; i >>= 1) v = fminf(v, __shfl_xor_sync(FULL, v, i));
  return v;
}

/** Sum over a block; `shared` holds 32 floats. All threads get it. */
DEVICE float sumBlock(float v, float* shared) {
  v = sumWarp(v);
  __syncthreads();
  if (laneOf() == 0) shared[warpOf()] = v;
  __syncthreads();
  const int warps = blockDim.x >> 5;
  return sumWarp(laneOf() < warps ? shared[laneOf()] : 0.0f);
}
DEVICE float maxBlock(float v, float* shared) {
  v = maxWarp(v);
  __syncthreads();
  if (laneOf() == 0) shared[warpOf()] = v;
  __syncthreads();
  const int warps = blockDim.x >> 5;
  return maxWarp(laneOf() < warps ? shared[laneOf()] : -INFINITE);
}

DEVICE float4 floatsOf(const uint4& bits) {
  return make_float4(__int_as_float(bits.x), __int_as_float(bits.y), __int_as_float(bits.z), __int_as_float(bits.w));
}

/** Four values of a row; those past its end count as 0. */
DEVICE float4 loadQuad(const float* row, int k, int width) {
  float4 v = *reinterpret_cast<const float4*>(row + k);
  if (k + 4 > width) {
    if (k + 1 >= width) v.y = 0;
    if (k + 2 >= width) v.z = 0;
    v.w = 0;
  }
  return v;
}

/** Both roundings of the quotient are within what docs/numerics.md allows; it is 0 where the sigmoid is below 2^-126. */
DEVICE float gated(float gate, float up) { return __fdividef(gate, 1.0f + expf(-gate)) * up; }
