// Threads of a block as fibers on one thread of the host, block after block; every second launch begins with the last block and
// the last thread. So a run is repeatable.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace emulator {

struct Dim3 {
  unsigned x, y, z;
};

struct Grid {
  Dim3 blocks, blockSize;
};

/** What a running thread knows of itself. */
struct Thread {
  Dim3 thread, block;
};

Thread& current();
const Grid& grid();
char* dynamicShared();

/** Ends the process's launch with an error that the next driver call reports. */
[[noreturn]] void fault(const char* what);

/** `line` tells barriers apart: threads that wait at different ones of a block, or of a warp, are a fault. */
void syncBlock(int line);
void syncWarp(int line);
uint16_t barriersPassed();

/** What kernels read from here on may be of the kernel before. */
void awaitInputs();
bool inputsAwaited();
/** The kernel after this may begin. */
void beginNext();
/** Whether it is the running thread's stack, or what threads know of themselves. */
bool isOwn(const void* p);
uint32_t atomicAdd(uint32_t* p, uint32_t value);

/** A lane's place to leave values for the others of its warp. */
char* mailbox(int lane);
constexpr size_t MAILBOX = 32;

/** All lanes give a value; all of them, in order of lanes. Valid until the next syncWarp. */
template <typename T>
const T* gather(const T& value, int line) {
  static_assert(sizeof(T) <= MAILBOX, "too large for a mailbox");
  const int lane = static_cast<int>(current().thread.x & 31);
  // Mailboxes of a type lie side by side.
  std::memcpy(mailbox(0) + lane * sizeof(T), &value, sizeof(T));
  syncWarp(line);
  return reinterpret_cast<const T*>(mailbox(0));
}

template <typename T>
T exchange(T value, int from, int line) {
  const T result = gather(value, line)[from];
  syncWarp(line);
  return result;
}

typedef void (*Kernel)(const void* args);

struct Entry {
  const char* name;
  size_t argumentBytes;
  unsigned threads;
  Kernel kernel;
  Entry* next;
};

Entry* findKernel(const char* name);

struct Registration {
  Entry entry;
  Registration(const char* name, size_t bytes, unsigned threads, Kernel kernel);
};

/** Static shared memory; poisoned before each block. */
void registerShared(void* memory, size_t bytes);
template <typename T, size_t N>
struct SharedArray {
  alignas(16) T values[N];
  SharedArray() { registerShared(values, sizeof(values)); }
};

/** Runs a grid; null when it went well, else what went wrong. */
const char* launch(const Entry& entry, const Grid& grid, size_t sharedBytes, const void* args);

}  // namespace emulator
