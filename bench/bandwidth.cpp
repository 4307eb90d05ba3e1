// Measures how fast threads together read a buffer from memory: the floor under the time of a decoded token.
//   bandwidth <bytes> <threads> <rounds>     prints bytes a second, one line a round
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif

typedef uint64_t Vector __attribute__((vector_size(32)));

/** Four sums, so that no load waits for an addition. */
static uint64_t readAll(const Vector* from, size_t count) {
  Vector a{}, b{}, c{}, d{};
  for (size_t i = 0; i + 4 <= count; i += 4) {
    a += from[i];
    b += from[i + 1];
    c += from[i + 2];
    d += from[i + 3];
  }
  a += b + c + d;
  return a[0] + a[1] + a[2] + a[3];
}

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const size_t page = size_t{2} << 20;
  const int threads = std::atoi(argv[2]), rounds = std::atoi(argv[3]);
  // Each thread's part is whole large pages.
  const size_t part = (std::strtoull(argv[1], nullptr, 10) / threads + page - 1) / page * page, bytes = part * threads;
  void* memory = nullptr;
  if (threads < 1 || rounds < 1 || posix_memalign(&memory, page, bytes) != 0) return 1;
#if defined(__linux__)
  madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  std::memset(memory, 1, bytes);

  std::atomic<int> round{0}, done{0};
  std::atomic<uint64_t> sum{0};
  const auto work = [&](int index) {
    const Vector* from = reinterpret_cast<const Vector*>(static_cast<char*>(memory) + part * index);
    for (int r = 1; r <= rounds; ++r) {
      while (round.load() < r) {
      }
      sum += readAll(from, part / sizeof(Vector));
      ++done;
    }
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(work, i);
  for (int r = 1; r <= rounds; ++r) {
    done = 0;
    const auto begun = std::chrono::steady_clock::now();
    round = r;
    sum += readAll(static_cast<const Vector*>(memory), part / sizeof(Vector));
    while (done.load() < threads - 1) {
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begun;
    std::printf("%.0f\n", bytes / seconds.count());
  }
  for (std::thread& other : others) other.join();
  // Whoever could leave the reading out would have to know the sum.
  return sum.load() == 1;
}
