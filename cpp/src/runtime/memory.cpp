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

/// Arrays of at least kLarge bytes lie on large pages, which makes streaming and updating large weights
/// faster; see "Tuning measurements" in docs/performance.md.
constexpr std::size_t kLargePage = std::size_t{2} << 20;
constexpr std::size_t kLarge = 2 * kLargePage;

constexpr std::size_t kPiece = std::size_t{16} << 20;  ///< bytes cleared between interrupt checks

std::align_val_t alignment_of(std::size_t bytes) {
  return std::align_val_t{bytes >= kLarge ? kLargePage : kCacheLine};
}

}  // namespace

void* allocate(std::size_t bytes) {
  void* const memory = ::operator new(bytes, alignment_of(bytes));
#if defined(__linux__)
  if (bytes >= kLarge) madvise(memory, bytes / kLargePage * kLargePage, MADV_HUGEPAGE);  // a hint
#endif
  try {  // clearing makes the system provide the pages, which takes long for large arrays
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
