// Memory for arrays that kernels work on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

namespace nncore {

/// An owned array of plain numbers, aligned to a cache line, zero when made.
template <class T>
class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 64;

  AlignedBuffer() = default;
  explicit AlignedBuffer(std::int64_t count)
      : data_(count > 0 ? static_cast<T*>(::operator new(static_cast<std::size_t>(count) * sizeof(T),
                                                         std::align_val_t{kAlignment}))
                        : nullptr),
        count_(count) {
    if (count > 0) std::memset(data_, 0, static_cast<std::size_t>(count) * sizeof(T));
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }
  ~AlignedBuffer() {
    if (data_ != nullptr) ::operator delete(data_, std::align_val_t{kAlignment});
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
