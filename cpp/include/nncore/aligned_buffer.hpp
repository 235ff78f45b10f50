// Aligned memory for the arrays that kernels work on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace nncore {

/// Returns zeroed memory aligned to a cache line (64 bytes). Blocks of 4 MB or more use large pages where the
/// system offers them. Free the memory with release(). Throws std::bad_alloc.
void* allocate(std::size_t bytes);
/// Frees memory from allocate(); `bytes` must be the size given to it.
void release(void* memory, std::size_t bytes) noexcept;

/// An owned array of plain numbers, aligned to a cache line and initialized to zero. Movable, not copyable.
template <class T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::int64_t count)
      : data_(count > 0 ? static_cast<T*>(allocate(static_cast<std::size_t>(count) * sizeof(T))) : nullptr),
        count_(count) {}
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }
  ~AlignedBuffer() {
    if (data_ != nullptr) release(data_, static_cast<std::size_t>(count_) * sizeof(T));
  }

  /// Ensures room for at least `count` elements. If the buffer grows, its contents are replaced by zeros.
  void reserve(std::int64_t count) {
    if (count > count_) *this = AlignedBuffer(count);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::int64_t size() const { return count_; }

 private:
  T* data_ = nullptr;
  std::int64_t count_ = 0;
};

}  // namespace nncore
