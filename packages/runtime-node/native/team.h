// Threads that share out the units of one piece of work after another, and the memory that each of them works in.
#pragma once
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "dealer.h"
#include "memory.h"

namespace duobit {

class Team {
 public:
  /** @throws std::system_error when a thread cannot be started. */
  explicit Team(int threads) : Team(std::make_shared<Pool>(threads)) {}
  /** Of threads that do other work besides, one at a time. */
  explicit Team(std::shared_ptr<Pool> pool) : dealer_(pool->threads()), scratch_(pool->threads()), pool_(std::move(pool)) {}
  /** A helper that comes late still asks the dealer. */
  ~Team() { pool_->settle(); }
  int threads() const { return pool_->threads(); }

  /** Gives every thread this many floats at least. What was in them is lost. @throws std::bad_alloc */
  void reserve(size_t floats);
  float* scratch(int thread) const { return scratch_[thread].as<float>(); }
  /** Floats that all threads see, until the next call. @throws std::bad_alloc */
  float* shared(size_t floats);

  /** Calls act(unit, thread) for the units 0 … count - 1, each once, and returns when all are done. */
  template <class F>
  void each(int count, F&& act) {
    using Act = std::remove_reference_t<F>;
    job_ = [](void* context, int unit, int thread) { (*static_cast<Act*>(context))(unit, thread); };
    context_ = const_cast<void*>(static_cast<const void*>(&act));
    for (first_ = 0; first_ < count; first_ += MOST_UNITS) deal(count - first_ < MOST_UNITS ? count - first_ : MOST_UNITS);
  }

 private:
  /** The dealer counts to 2^20. */
  static constexpr int MOST_UNITS = 1 << 19;

  void deal(int count);
  void work(const RunTicket& ticket);

  Dealer dealer_;
  std::vector<Memory> scratch_;
  Memory shared_;
  /** Read by a thread only while it holds a unit, which keeps them as they are. */
  void (*job_)(void*, int, int) = nullptr;
  void* context_ = nullptr;
  int first_ = 0;
  std::shared_ptr<Pool> pool_;
};

}  // namespace duobit
