// Threads that share the phases of a run out among themselves.
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

/** A number that threads wait for to change. */
class Signal {
 public:
  uint32_t now() const { return value_.load(); }
  void advance();
  /** Returns once the value differs from `seen`. */
  void wait(uint32_t seen);

 private:
  std::atomic<uint32_t> value_{0};
  std::atomic<uint32_t> sleepers_{0};
#if !defined(__linux__)
  std::mutex mutex_;
  std::condition_variable changed_;
#endif
};

/** What a thread knows of the run it takes part in: the run's number, which goes up, its own, and values of the caller. */
struct RunTicket {
  uint64_t run;
  int thread;
  int values[3];
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
  void run(Work work, void* context, const int (&values)[3]);
  /** Returns once no helper is in a run any more; until the next one, none will be. */
  void settle();

 private:
  void serve(int thread);
  void stop();

  const int count_;
  std::atomic<Work> work_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<int> values_[3] = {};
  std::atomic<uint64_t> runs_{0};
  std::atomic<bool> ending_{false};
  /** Even while a run is open to helpers; goes up by one when a run opens and when it closes. */
  Signal turn_;
  std::atomic<int> inside_{0};
  std::vector<std::thread> workers_;
};

/**
 * Hands the units of one phase of a run out, each once, and knows when all are done. Counts carry the number of the run, so
 * they need no reset, and a helper that comes too late finds out.
 */
class alignas(64) Phase {
 public:
  /** The next unit below `count`, -1 when there is none, -2 when a later run has begun. */
  int claim(uint64_t run, int count);
  /** Marks a unit as done; true for the last one. */
  bool finish(uint64_t run, int count);
  /** 1 when all units are done, 0 when not, -2 when a later run has begun. */
  int isDone(uint64_t run, int count) const;

 private:
  /** Number of the run times 2^24, plus a count of units. */
  std::atomic<uint64_t> next_{0};
  std::atomic<uint64_t> done_{0};
};

}  // namespace duobit
