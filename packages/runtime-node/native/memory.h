// Zeroed memory: blocks on cache lines, and an arena on large pages for what a run reads from front to back.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace duobit {

/** A block that starts on a cache line. Pages of a large one are not touched before they are used. */
class Memory {
 public:
  Memory() = default;
  /** @throws std::bad_alloc */
  explicit Memory(size_t bytes, size_t alignment = 64) : size_(bytes) {
    if (bytes > SIZE_MAX - alignment) throw std::bad_alloc();
    // calloc leaves fresh pages of the system alone, which are zero already.
    block_ = std::calloc(1, bytes + alignment);
    if (!block_) throw std::bad_alloc();
    data_ = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(block_) + alignment - 1) / alignment * alignment);
  }
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Memory() { std::free(block_); }
  template <class T>
  T* as(size_t byteOffset = 0) const {
    return reinterpret_cast<T*>(data_ + byteOffset);
  }
  size_t size() const { return size_; }

 private:
  void swap(Memory& other) {
    std::swap(block_, other.block_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  void* block_ = nullptr;
  char* data_ = nullptr;
  size_t size_ = 0;
};

/**
 * Hands memory out front to back, so that what is added in the order of use lies in that order, and frees it at once. On
 * small pages and in many blocks the same weights stream at little more than half the speed: the processor's prefetcher
 * stops at the end of a page and learns a new stream for each block.
 */
class Arena {
 public:
  /** Zeroed, on a cache line. @throws std::bad_alloc */
  uint8_t* allocate(size_t bytes) {
    const size_t whole = (bytes + 63) / 64 * 64;
    if (whole > left_) grow(whole);
    uint8_t* const result = next_;
    next_ += whole;
    left_ -= whole;
    used_ += whole;
    return result;
  }
  size_t used() const { return used_; }

 private:
  static constexpr size_t LARGE_PAGE = size_t{2} << 20;
  static constexpr size_t CHUNK = size_t{64} << 20;

  void grow(size_t bytes) {
    const size_t size = bytes > CHUNK ? (bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE : CHUNK;
    chunks_.emplace_back(size, LARGE_PAGE);
    next_ = chunks_.back().as<uint8_t>();
    left_ = size;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    madvise(next_, size, MADV_HUGEPAGE);
#endif
  }

  std::vector<Memory> chunks_;
  uint8_t* next_ = nullptr;
  size_t left_ = 0, used_ = 0;
};

}  // namespace duobit
