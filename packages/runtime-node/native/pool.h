// Threads that help with a run.
//
// Waiting is spinning first, since phases last microseconds, then sleeping in the kernel. A run allocates no memory and takes
// no lock (where the system has no futex, sleeping takes one).
#pragma once
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>
#if !defined(__linux__)
#include <condition_variable>
#include <mutex>
#endif

namespace duobit {

/** Looks before a thread sleeps: tens of microseconds, more than a phase lasts. */
constexpr int SPINS = 1500;

static inline void relax() {
#if defined(__x86_64__) || defined(_M_X64)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("isb");
#endif
}

/** A number that threads wait for to change. */
class Signal {
 public:
  uint32_t now() const { return value_.load(); }
  void advance();
  /** Returns once the value differs from `seen`; sleeps after that many looks. */
  void wait(uint32_t seen, int spins);

 private:
  std::atomic<uint32_t> value_{0};
  std::atomic<uint32_t> sleepers_{0};
#if !defined(__linux__)
  std::mutex mutex_;
  std::condition_variable changed_;
#endif
};

/** Numbers that the caller gives every thread of a run. */
constexpr int RUN_VALUES = 4;

/** What a thread knows of the run it takes part in: the run's number, which goes up, its own, and values of the caller. */
struct RunTicket {
  uint64_t run;
  int thread;
  int values[RUN_VALUES];
};

/**
 * Threads that help with one run at a time. Helpers come and go as the system schedules them: a run is complete when its
 * work is, whoever did it, and never waits for a helper that holds none of it. So a machine with other work to do slows a
 * run by what it takes away, not by a wait at every phase.
 */
class Pool {
 public:
  using Work = void (*)(void* context, const RunTicket&);
  /** @throws std::system_error when a thread cannot be started. */
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  int threads() const { return count_; }
  /** Runs `work` on the caller, which must not return before the work is done, and on helpers that find the time. */
  void run(Work work, void* context, const int (&values)[RUN_VALUES]);
  /** Returns once no helper is in a run any more; until the next one, none will be. */
  void settle();

 private:
  void serve(int thread);
  void stop();

  const int count_;
  std::atomic<Work> work_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<int> values_[RUN_VALUES] = {};
  std::atomic<uint64_t> runs_{0};
  std::atomic<bool> ending_{false};
  /** Even while a run is open to helpers; goes up by one when a run opens and when it closes. */
  Signal turn_;
  std::atomic<int> inside_{0};
  std::vector<std::thread> workers_;
};

}  // namespace duobit
