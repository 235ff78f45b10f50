// Memory for arrays.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>

#include "nncore/aligned_buffer.hpp"
#include "nncore/runtime.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace nncore {
namespace {

constexpr std::size_t kCacheLine = 64;

/// Arrays of several large pages lie on such pages. (Measured: weights of 64 MB that do not fit the cache are
/// streamed 1.3 times as fast, and updated 1.1 times.)
constexpr std::size_t kLargePage = std::size_t{2} << 20;
constexpr std::size_t kLarge = 2 * kLargePage;

constexpr std::size_t kPiece = std::size_t{16} << 20;  ///< that is cleared before somebody may end the call

std::align_val_t alignment_of(std::size_t bytes) {
  return std::align_val_t{bytes >= kLarge ? kLargePage : kCacheLine};
}

}  // namespace

void* allocate(std::size_t bytes) {
  void* const memory = ::operator new(bytes, alignment_of(bytes));
#if defined(__linux__)
  if (bytes >= kLarge) madvise(memory, bytes / kLargePage * kLargePage, MADV_HUGEPAGE);  // a wish
#endif
  try {  // the system hands out pages while they are cleared, which takes long where there are many
    for (std::size_t done = 0; done < bytes; done += std::min(kPiece, bytes - done)) {
      if (done > 0) check_interrupt();
      std::memset(static_cast<std::byte*>(memory) + done, 0, std::min(kPiece, bytes - done));
    }
  } catch (...) {
    release(memory, bytes);
    throw;
  }
  return memory;
}

void release(void* memory, std::size_t bytes) noexcept { ::operator delete(memory, alignment_of(bytes)); }

}  // namespace nncore
