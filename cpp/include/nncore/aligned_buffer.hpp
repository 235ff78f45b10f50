// Memory for arrays that kernels work on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace nncore {

/// Memory that begins a cache line, zero; from 4 MB on it lies on large pages where the system has them.
/// Throws std::bad_alloc.
void* allocate(std::size_t bytes);
/// Gives back what allocate(bytes) gave.
void release(void* memory, std::size_t bytes) noexcept;

/// An owned array of plain numbers, aligned to a cache line, zero when made.
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

  /// At least `count` elements; what was there is lost if it grows.
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
