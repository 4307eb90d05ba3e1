// A fixed team of threads; see pool.h.
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
  try {
    for (int thread = 1; thread < threads; ++thread) workers_.emplace_back(&Pool::serve, this, thread);
  } catch (...) {
    stop();
    throw;
  }
}

Pool::~Pool() { stop(); }

void Pool::stop() {
  ending_ = true;
  start_.advance();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::run(Work work, void* context) {
  work_ = work;
  context_ = context;
  if (count_ > 1) start_.advance();
  work(context, 0);
  meet();
}

void Pool::serve(int thread) {
  // A worker takes part in every run, as each ends with a meeting; so the value it waits at is the number of runs so far.
  for (uint32_t seen = 0;; ++seen) {
    start_.wait(seen);
    if (ending_) return;
    work_(context_, thread);
    meet();
  }
}

void Pool::meet() {
  if (count_ == 1) return;
  const uint32_t seen = met_.now();
  if (waiting_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_) {
    waiting_.store(0, std::memory_order_relaxed);
    met_.advance();
  } else {
    met_.wait(seen);
  }
}

}  // namespace duobit
