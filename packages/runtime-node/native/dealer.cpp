// Deals units out; see dealer.h.
#include "dealer.h"

namespace duobit {

constexpr int UNIT_BITS = 20;
constexpr uint64_t UNITS = (uint64_t{1} << UNIT_BITS) - 1;

int Dealer::claim(uint64_t phase, int count, int thread) {
  for (int i = 0; i < threads_; ++i) {
    const int owner = thread + i < threads_ ? thread + i : thread + i - threads_;
    const int begin = beginOf(owner, count), size = beginOf(owner + 1, count) - begin;
    std::atomic<uint64_t>& word = counters_[owner].word;
    uint64_t seen = word.load();
    for (;;) {
      if (seen >> UNIT_BITS > phase) return -1;
      const int claimed = seen >> UNIT_BITS == phase ? static_cast<int>(seen & UNITS) : 0;
      if (claimed >= size) break;
      if (word.compare_exchange_weak(seen, phase << UNIT_BITS | static_cast<uint64_t>(claimed + 1))) return begin + claimed;
    }
  }
  return -1;
}

bool Dealer::finish(uint64_t phase, int units, int count) {
  uint64_t seen = done_.load();
  for (;;) {
    const uint64_t done = (seen >> UNIT_BITS == phase ? seen & UNITS : 0) + static_cast<uint64_t>(units);
    if (done_.compare_exchange_weak(seen, phase << UNIT_BITS | done)) return done == static_cast<uint64_t>(count);
  }
}

void Dealer::open(uint64_t phase) {
  open_.store(phase);
  opened_.advance();
}

}  // namespace duobit
