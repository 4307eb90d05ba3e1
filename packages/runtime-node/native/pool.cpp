// Threads that share the phases of a run; see pool.h.
#include "pool.h"

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace duobit {

/** About 30 microseconds on a machine of 2023. */
constexpr int SPINS = 1500;

static inline void relax() {
#if defined(__x86_64__) || defined(_M_X64)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("isb");
#endif
}

void Signal::advance() {
#if defined(__linux__)
  value_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0)
    syscall(SYS_futex, &value_, FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0);
#else
  {
    std::lock_guard<std::mutex> lock(mutex_);
    value_.fetch_add(1, std::memory_order_seq_cst);
  }
  changed_.notify_all();
#endif
}

void Signal::wait(uint32_t seen) {
  for (int i = 0; i < SPINS; ++i) {
    if (now() != seen) return;
    relax();
  }
#if defined(__linux__)
  static_assert(sizeof(value_) == 4, "a futex is 32 bits");
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  // The kernel looks at the value again, so a change between here and there wakes at once.
  while (value_.load(std::memory_order_seq_cst) == seen)
    syscall(SYS_futex, &value_, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
  sleepers_.fetch_sub(1, std::memory_order_seq_cst);
#else
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return now() != seen; });
#endif
}

Pool::Pool(int threads) : count_(threads) {
  turn_.advance();  // closed
  try {
    for (int thread = 1; thread < threads; ++thread) workers_.emplace_back(&Pool::serve, this, thread);
  } catch (...) {
    stop();
    throw;
  }
}

Pool::~Pool() { stop(); }

void Pool::stop() {
  ending_.store(true);
  turn_.advance();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::run(Work work, void* context, const int (&values)[3]) {
  const uint64_t run = runs_.load() + 1;
  runs_.store(run);
  work_.store(work);
  context_.store(context);
  RunTicket ticket{run, 0, {}};
  for (int i = 0; i < 3; ++i) {
    ticket.values[i] = values[i];
    values_[i].store(values[i]);
  }
  if (count_ > 1) turn_.advance();  // open
  work(context, ticket);
  if (count_ > 1) turn_.advance();  // closed
}

void Pool::settle() {
  while (inside_.load() != 0) std::this_thread::yield();
}

void Pool::serve(int thread) {
  for (uint32_t seen = 1;;) {
    turn_.wait(seen);
    // From here on settle() waits for this thread; if the run was closed before, that shows now.
    inside_.fetch_add(1);
    seen = turn_.now();
    if (seen % 2 == 0 && !ending_.load()) {
      RunTicket ticket{runs_.load(), thread, {}};
      for (int i = 0; i < 3; ++i) ticket.values[i] = values_[i].load();
      const Work work = work_.load();
      void* context = context_.load();
      // What was read belongs together only if no other run was begun meanwhile.
      if (turn_.now() == seen) work(context, ticket);
    }
    inside_.fetch_sub(1);
    if (ending_.load()) return;
  }
}

constexpr int UNIT_BITS = 24;
constexpr uint64_t UNITS = (uint64_t{1} << UNIT_BITS) - 1;

int Phase::claim(uint64_t run, int count) {
  uint64_t word = next_.load();
  for (;;) {
    if (word >> UNIT_BITS > run) return -2;
    const uint64_t unit = word >> UNIT_BITS == run ? word & UNITS : 0;
    if (unit >= static_cast<uint64_t>(count)) return -1;
    if (next_.compare_exchange_weak(word, run << UNIT_BITS | (unit + 1))) return static_cast<int>(unit);
  }
}

bool Phase::finish(uint64_t run, int count) {
  uint64_t word = done_.load();
  for (;;) {
    const uint64_t done = (word >> UNIT_BITS == run ? word & UNITS : 0) + 1;
    if (done_.compare_exchange_weak(word, run << UNIT_BITS | done)) return done == static_cast<uint64_t>(count);
  }
}

int Phase::isDone(uint64_t run, int count) const {
  const uint64_t word = done_.load();
  if (word >> UNIT_BITS > run) return -2;
  return count == 0 || (word >> UNIT_BITS == run && (word & UNITS) >= static_cast<uint64_t>(count)) ? 1 : 0;
}

}  // namespace duobit
