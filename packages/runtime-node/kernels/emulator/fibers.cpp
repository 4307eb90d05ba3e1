// Fibers: each starts once through ucontext, after that _setjmp and _longjmp switch, which save no signal mask and so cost
// nanoseconds.
#include "fibers.h"

#include <csetjmp>
#include <cstdlib>
#include <string>
#include <ucontext.h>
#include <vector>

#include "watch.h"

namespace emulator {
namespace {

constexpr size_t STACK = 64 * 1024;
constexpr unsigned MOST_THREADS = 1024;

struct Fiber {
  Thread self;
  char* stack = nullptr;
  ucontext_t start;
  jmp_buf place;
  bool started, finished, awaited;
  /** Barriers it waits at: passed when the count of them is beyond. */
  uint64_t blockGate, warpGate;
};

struct Warp {
  unsigned arrived, size;
  uint64_t generation;
  /** Of the barrier or exchange that the first of those who wait is at. */
  int line;
  alignas(16) char mail[32 * MAILBOX];
};

struct Block {
  unsigned arrived = 0, alive = 0;
  uint64_t generation = 0;
  int line = 0;
};

std::vector<Fiber> fibers;
Warp warps[MOST_THREADS / 32];
Block block;
Grid running;
Fiber* self = nullptr;
bool backwards = false;
jmp_buf scheduler;
const Entry* entryOf;
const void* arguments;
std::vector<char> shared;
std::string trouble;
Entry* registered = nullptr;

struct SharedMemory {
  void* memory;
  size_t bytes;
};
std::vector<SharedMemory>& sharedMemories() {
  static std::vector<SharedMemory> all;
  return all;
}

void yield() {
  if (_setjmp(self->place) == 0) _longjmp(scheduler, 1);
}

void finish() {
  self->finished = true;
  // Those that wait must not wait for this one; on the device a thread that has ended counts as arrived.
  --block.alive;
  Warp& warp = warps[self->self.thread.x / 32];
  --warp.size;
  if (warp.size > 0 && warp.arrived == warp.size) {
    warp.arrived = 0;
    ++warp.generation;
  }
  if (block.alive > 0 && block.arrived == block.alive) {
    block.arrived = 0;
    ++block.generation;
  }
}

/** A fiber serves block after block. */
void run() {
  for (;;) {
    entryOf->kernel(arguments);
    finish();
    yield();
  }
}

bool waits(const Fiber& f) {
  return f.blockGate > block.generation || f.warpGate > warps[f.self.thread.x / 32].generation;
}

void resume(Fiber& f) {
  self = &f;
  if (_setjmp(scheduler) != 0) return;
  if (f.started) _longjmp(f.place, 1);
  f.started = true;
  setcontext(&f.start);
}

/** Fibers that were left in the middle of a kernel start anew. */
void abandon() {
  for (Fiber& f : fibers) f.started = false;
}

void runBlock(Dim3 index, unsigned threads) {
  std::memset(shared.data(), 0xa5, shared.size());
  for (const SharedMemory& m : sharedMemories()) std::memset(m.memory, 0xa5, m.bytes);
  watchBlock(shared.data(), shared.size());
  block = Block{0, threads, 0, 0};
  for (unsigned w = 0; w * 32 < threads; ++w) warps[w] = Warp{0, 32, 0, 0, {}};
  for (unsigned i = 0; i < threads; ++i) {
    Fiber& f = fibers[i];
    f.self = {{i, 0, 0}, index};
    f.finished = f.awaited = false;
    f.blockGate = f.warpGate = 0;
    if (f.started) continue;
    getcontext(&f.start);
    f.start.uc_stack.ss_sp = f.stack;
    f.start.uc_stack.ss_size = STACK;
    f.start.uc_link = nullptr;
    makecontext(&f.start, run, 0);
  }
  while (block.alive > 0) {
    bool moved = false;
    for (unsigned i = 0; i < threads; ++i) {
      Fiber& f = fibers[backwards ? threads - 1 - i : i];
      if (f.finished || waits(f)) continue;
      moved = true;
      resume(f);
      if (!trouble.empty()) return abandon();
    }
    if (!moved) {
      trouble = "deadlock: threads wait for others that do not come";
      return abandon();
    }
  }
  if (const char* what = watchEnd()) trouble = what;
}

}  // namespace

Thread& current() { return self->self; }
const Grid& grid() { return running; }
char* dynamicShared() { return shared.data(); }
char* mailbox(int) { return warps[self->self.thread.x / 32].mail; }

void fault(const char* what) {
  trouble = what;
  _longjmp(scheduler, 1);
}

void syncBlock(int line) {
  if (block.arrived == 0) block.line = line;
  else if (block.line != line) fault("threads of a block wait at different barriers");
  self->blockGate = block.generation + 1;
  if (++block.arrived == block.alive) {
    block.arrived = 0;
    ++block.generation;
    return;
  }
  yield();
}

void syncWarp(int line) {
  Warp& warp = warps[self->self.thread.x / 32];
  if (warp.size != 32) fault("an exchange of a warp whose threads have not all come this far");
  if (warp.arrived == 0) warp.line = line;
  else if (warp.line != line) fault("threads of a warp are at different exchanges");
  self->warpGate = warp.generation + 1;
  if (++warp.arrived == warp.size) {
    warp.arrived = 0;
    ++warp.generation;
    return;
  }
  yield();
}

uint16_t barriersPassed() { return static_cast<uint16_t>(block.generation); }
void awaitInputs() {
  if (!self->awaited) watchWait();
  self->awaited = true;
}
bool inputsAwaited() { return self->awaited; }
void beginNext() {
  if (!self->awaited) watchEarlyBegin();
}
bool isOwn(const void* p) {
  const char* const at = static_cast<const char*>(p);
  const char* const all = reinterpret_cast<const char*>(fibers.data());
  return (at >= self->stack && at < self->stack + STACK) || (at >= all && at < all + fibers.size() * sizeof(Fiber));
}

uint32_t atomicAdd(uint32_t* p, uint32_t value) {
  watchAtomic(p, sizeof(*p));
  const uint32_t before = *p;
  *p += value;
  return before;
}

Registration::Registration(const char* name, size_t bytes, unsigned threads, Kernel kernel)
    : entry{name, bytes, threads, kernel, registered} {
  registered = &entry;
}

Entry* findKernel(const char* name) {
  for (Entry* e = registered; e; e = e->next)
    if (std::strcmp(e->name, name) == 0) return e;
  return nullptr;
}

void registerShared(void* memory, size_t bytes) {
  // Arrays are made when a kernel first comes to them, in the middle of a block.
  std::memset(memory, 0xa5, bytes);
  sharedMemories().push_back({memory, bytes});
  watchShared(memory, bytes);
}

const char* launch(const Entry& entry, const Grid& wanted, size_t sharedBytes, const void* args) {
  const Dim3 b = wanted.blocks, t = wanted.blockSize;
  if (t.y != 1 || t.z != 1 || t.x == 0 || t.x % 32 != 0 || t.x > entry.threads || b.x == 0 || b.y == 0 || b.z == 0 ||
      b.y > 65535 || b.z > 65535)
    return "the launch has a grid or block that the device would refuse";
  while (fibers.size() < t.x) {
    fibers.emplace_back();
    fibers.back().started = false;
    // Not std::vector: a stack stays where it is.
    fibers.back().stack = static_cast<char*>(std::malloc(STACK));
  }
  running = wanted;
  entryOf = &entry;
  arguments = args;
  shared.assign(sharedBytes + 16, 0);
  trouble.clear();
  watchLaunch(args, entry.argumentBytes);
  backwards = !backwards;
  const uint64_t count = static_cast<uint64_t>(b.x) * b.y * b.z;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t at = backwards ? count - 1 - i : i;
    runBlock({static_cast<unsigned>(at % b.x), static_cast<unsigned>(at / b.x % b.y), static_cast<unsigned>(at / b.x / b.y)}, t.x);
    if (!trouble.empty()) return trouble.c_str();
  }
  return nullptr;
}

}  // namespace emulator
