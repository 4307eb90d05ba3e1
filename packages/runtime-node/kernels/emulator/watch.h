// What the watched emulator knows of each byte that kernels touch: who wrote and read it last. Its kernels are compiled with
// -fsanitize=thread, which puts a call before every access; watch.cpp answers these calls in the place of the sanitizer's library,
// whose threads ours are not. Without that flag nobody calls, and nothing here costs anything.
#pragma once
#include <cstddef>

namespace emulator {

/** Memory of the device, as it is given out and freed. */
void watchAllocation(const void* memory, size_t bytes);
void forgetAllocation(const void* memory, size_t bytes);

/** Everything before has ended: the host has waited, or a copy or a graph is in order behind it. */
void watchOrder();
void watchShared(const void* memory, size_t bytes);
void watchLaunch(const void* arguments, size_t bytes);
/** A thread waits for the launches before; lets the next begin before it has. */
void watchWait();
void watchEarlyBegin();
void watchBlock(const char* dynamicShared, size_t bytes);
/** At a block's end: what its last write did wrong, or null. */
const char* watchEnd();

/** Of the running thread. */
void watchFence();
void watchAtomic(const void* at, size_t bytes);

}  // namespace emulator
