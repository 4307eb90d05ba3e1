// Deals out work; see team.h.
#include "team.h"

namespace duobit {

void Team::reserve(size_t floats) {
  for (Memory& memory : scratch_)
    if (memory.size() < floats * sizeof(float)) {
      memory = Memory();
      memory = Memory(floats * sizeof(float));
    }
}

float* Team::shared(size_t floats) {
  if (shared_.size() < floats * sizeof(float)) {
    shared_ = Memory();
    shared_ = Memory(floats * sizeof(float));
  }
  return shared_.as<float>();
}

void Team::deal(int count) {
  if (count == 1 || pool_->threads() == 1) {
    for (int unit = 0; unit < count; ++unit) job_(context_, first_ + unit, 0);
    return;
  }
  pool_->run([](void* team, const RunTicket& ticket) { static_cast<Team*>(team)->work(ticket); }, this, {count, 0, 0});
}

void Team::work(const RunTicket& ticket) {
  // A run is one phase, under the run's own number: who comes late claims nothing.
  const int count = ticket.values[0];
  int done = 0;
  for (int unit; (unit = dealer_.claim(ticket.run, count, ticket.thread)) >= 0; ++done) job_(context_, first_ + unit, ticket.thread);
  if (done > 0 && dealer_.finish(ticket.run, done, count)) dealer_.open(ticket.run);
  else if (ticket.thread == 0) dealer_.await(ticket.run - 1, [] {});
}

}  // namespace duobit
