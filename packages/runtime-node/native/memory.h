// Zeroed memory on cache lines, counted; large blocks ask for large pages.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(_WIN32)
#include <malloc.h>
#endif

namespace duobit {

class Memory {
 public:
  Memory() = default;
  /** @throws std::bad_alloc */
  explicit Memory(size_t bytes) : size_(bytes) {
    const size_t large = size_t{2} << 20;
    const size_t alignment = bytes >= large ? large : 64;
    if (bytes > SIZE_MAX - alignment) throw std::bad_alloc();
    const size_t whole = (bytes + alignment - 1) / alignment * alignment;
#if defined(_WIN32)
    data_ = _aligned_malloc(whole ? whole : alignment, alignment);
#else
    if (posix_memalign(&data_, alignment, whole ? whole : alignment) != 0) data_ = nullptr;
#endif
    if (!data_) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (bytes >= large) madvise(data_, whole, MADV_HUGEPAGE);
#endif
    std::memset(data_, 0, whole);
  }
  Memory(Memory&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Memory& operator=(Memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Memory() {
#if defined(_WIN32)
    _aligned_free(data_);
#else
    std::free(data_);
#endif
  }
  template <class T>
  T* as(size_t byteOffset = 0) const {
    return reinterpret_cast<T*>(static_cast<char*>(data_) + byteOffset);
  }
  size_t size() const { return size_; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace duobit
