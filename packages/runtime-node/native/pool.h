// A fixed team of threads that runs one function at a time, every thread the same, with a barrier to meet at.
//
// Waiting is spinning first, since phases of a step last microseconds, then sleeping in the kernel. Neither running nor
// meeting allocates memory or takes a lock (where the system has no futex, sleeping takes one).
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
  uint32_t now() const { return value_.load(std::memory_order_acquire); }
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

class Pool {
 public:
  using Work = void (*)(void* context, int thread);
  /** @throws std::system_error when a thread cannot be started. */
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  int threads() const { return count_; }
  /** Runs `work` on every thread, the caller being thread 0, and returns when all have ended. */
  void run(Work work, void* context);
  /** To be called by all threads of a run alike. */
  void meet();

 private:
  void serve(int thread);
  void stop();

  const int count_;
  Work work_ = nullptr;
  void* context_ = nullptr;
  bool ending_ = false;
  Signal start_;
  Signal met_;
  std::atomic<int> waiting_{0};
  std::vector<std::thread> workers_;
};

}  // namespace duobit
