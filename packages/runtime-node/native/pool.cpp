// Threads that share the phases of a run; see pool.h.
#include "pool.h"

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace duobit {

/**
 * Looks for the next run before a helper sleeps, about half a millisecond: between two tokens there is little else to do, and
 * to wake a thread takes longer than some phases.
 */
constexpr int SPINS_BETWEEN_RUNS = 20 * SPINS;

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

void Signal::wait(uint32_t seen, int spins) {
  for (int i = 0; i < spins; ++i) {
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

void Pool::run(Work work, void* context, const int (&values)[RUN_VALUES]) {
  const uint64_t run = runs_.load() + 1;
  runs_.store(run);
  work_.store(work);
  context_.store(context);
  RunTicket ticket{run, 0, {}};
  for (int i = 0; i < RUN_VALUES; ++i) {
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
    turn_.wait(seen, SPINS_BETWEEN_RUNS);
    // From here on settle() waits for this thread; if the run was closed before, that shows now.
    inside_.fetch_add(1);
    seen = turn_.now();
    if (seen % 2 == 0 && !ending_.load()) {
      RunTicket ticket{runs_.load(), thread, {}};
      for (int i = 0; i < RUN_VALUES; ++i) ticket.values[i] = values_[i].load();
      const Work work = work_.load();
      void* context = context_.load();
      // What was read belongs together only if no other run was begun meanwhile.
      if (turn_.now() == seen) work(context, ticket);
    }
    inside_.fetch_sub(1);
    if (ending_.load()) return;
  }
}

}  // namespace duobit
