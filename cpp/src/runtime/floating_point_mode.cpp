// The floating-point mode of the calling thread.
#include "nncore/runtime.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#elif !defined(__aarch64__)
#include <cfenv>
#endif

namespace nncore {
namespace {

// Round to nearest, subnormals neither flushed nor read as zero, every exception masked: the mode in which a
// program starts.
#if defined(__x86_64__)

constexpr std::uint64_t kMode = 0x1f80;
constexpr std::uint64_t kFlags = 0x3f;  ///< status, not control: any operation may set some
std::uint64_t read_mode() { return _mm_getcsr(); }
void write_mode(std::uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }

#elif defined(__aarch64__)

constexpr std::uint64_t kMode = 0;
constexpr std::uint64_t kFlags = 0;
std::uint64_t read_mode() {
  std::uint64_t mode;
  __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
void write_mode(std::uint64_t mode) { __asm__ __volatile__("msr fpcr, %0" : : "r"(mode)); }

#else  // portable C++ can set the rounding only

constexpr std::uint64_t kMode = FE_TONEAREST;
constexpr std::uint64_t kFlags = 0;
std::uint64_t read_mode() { return static_cast<std::uint64_t>(std::fegetround()); }
void write_mode(std::uint64_t mode) { std::fesetround(static_cast<int>(mode)); }

#endif

/// Avoids writes of the mode: reading it is cheap, but writing it waits for all instructions in flight.
bool is_set(std::uint64_t mode) { return (mode & ~kFlags) == kMode; }

}  // namespace

FloatingPointMode::FloatingPointMode() : saved_(read_mode()) {
  if (!is_set(saved_)) write_mode(kMode);
}

FloatingPointMode::~FloatingPointMode() {
  if (!is_set(saved_)) write_mode(saved_);
}

}  // namespace nncore
