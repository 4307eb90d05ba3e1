// Deals the units of one phase after another out to the threads of a run.
//
// Each thread has a part of a phase's units to itself, one after the other in memory, so that it reads one stream; a thread
// that is through with its part takes from another's. Phases are numbered for ever, and every count carries the number of
// its phase: nothing needs a reset, and a thread that comes late finds out.
#pragma once
#include <memory>

#include "pool.h"

namespace duobit {

class Dealer {
 public:
  explicit Dealer(int threads) : counters_(std::make_unique<Counter[]>(threads)), threads_(threads) {}
  /** Where the part of a thread begins. */
  int beginOf(int thread, int count) const { return static_cast<int>(static_cast<int64_t>(count) * thread / threads_); }
  /** The next of the `count` < 2^20 units of a phase for this thread; -1 when there is none, or the phase is over. */
  int claim(uint64_t phase, int count, int thread);
  /** Marks units as done; true for those that end the phase. */
  bool finish(uint64_t phase, int units, int count);
  /** All phases before `phase` are done. */
  void open(uint64_t phase);
  /** The latest phase that was opened. */
  uint64_t latest() const { return open_.load(); }
  /** Returns once a phase after `phase` is open; calls `idle` as long as it waits without sleeping. */
  template <class Idle>
  void await(uint64_t phase, Idle idle) {
    for (int i = 0; i < SPINS; ++i) {
      if (open_.load() > phase) return;
      idle();
      relax();
    }
    for (;;) {
      const uint32_t seen = opened_.now();
      if (open_.load() > phase) return;
      opened_.wait(seen, 0);
    }
  }

 private:
  /** A phase times 2^20, plus how many units of a part are claimed. 44 bits of phases last for years of tokens. */
  struct alignas(64) Counter {
    std::atomic<uint64_t> word{0};
  };
  std::unique_ptr<Counter[]> counters_;
  const int threads_;
  /** A phase times 2^20, plus how many of its units are done. */
  alignas(64) std::atomic<uint64_t> done_{0};
  alignas(64) std::atomic<uint64_t> open_{0};
  Signal opened_;
};

}  // namespace duobit
