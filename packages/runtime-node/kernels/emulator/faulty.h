// Kernels that are wrong, each in one way, in the watched emulator only: its tests show that it finds them.
#pragma once
#include "device.h"

struct FaultyArgs {
  u32* memory;
  int mode;
};

/** Threads hand words on through shared memory; 0: as it should be, 1: the barrier before reading is left out, 2: half of the threads are at another. */
KERNEL(faulty_barrier, FaultyArgs, 64) {
  waitForInputs();
  SHARED(u32, values, 64);
  values[threadIdx.x] = threadIdx.x;
  if (args.mode == 0) __syncthreads();
  if (args.mode == 2) {
    if (threadIdx.x < 32) __syncthreads();
    else __syncthreads();
  }
  const u32 other = values[63 - threadIdx.x];
  args.memory[64 * blockIdx.x + threadIdx.x] = other;
}

/** Blocks hand a word on; 0: with fence and counter, 1: without the fence, 2: without either, 3: all write the same. */
KERNEL(faulty_blocks, FaultyArgs, 32) {
  waitForInputs();
  SHARED(u32, before, 1);
  if (args.mode == 3) {
    args.memory[threadIdx.x] = threadIdx.x;
    return;
  }
  if (threadIdx.x == 0) args.memory[2 + blockIdx.x] = 7;
  if (args.mode == 0) __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) before[0] = args.mode == 2 ? gridDim.x - 1 : atomicAdd(args.memory, 1u);
  __syncthreads();
  if (before[0] != gridDim.x - 1 || threadIdx.x != 0) return;
  u32 sum = 0;
  for (u32 i = 0; i < gridDim.x; ++i) sum += args.memory[2 + i];
  args.memory[1] = sum;
}

/** 0: waits for its inputs, 1: reads before, 2: writes before. */
KERNEL(faulty_inputs, FaultyArgs, 32) {
  u32 held = args.mode == 1 ? args.memory[threadIdx.x] : 0;
  if (args.mode == 2) args.memory[threadIdx.x] = held;
  waitForInputs();
  if (args.mode == 0) held = args.memory[threadIdx.x];
  args.memory[threadIdx.x] = held + 1;
}

/** What a kernel between two does; 0: waits, then lets the next begin, 1: lets it begin first. */
KERNEL(faulty_between, FaultyArgs, 32) {
  if (args.mode == 1) beginNext();
  awaitInputs();
  beginNext();
}

/** 0: all lanes exchange, 1: some have ended. */
KERNEL(faulty_lanes, FaultyArgs, 32) {
  waitForInputs();
  if (args.mode == 1 && threadIdx.x > 15) return;
  args.memory[threadIdx.x] = __shfl_xor_sync(0xffffffffu, threadIdx.x, 1);
}

/** 0: aligned, 1: a vector at half of its size. */
KERNEL(faulty_vector, FaultyArgs, 32) {
  waitForInputs();
  if (threadIdx.x != 0) return;
  uint4* const vectors = reinterpret_cast<uint4*>(args.memory + (args.mode == 1 ? 2 : 0));
  vectors[1] = vectors[0];
}
