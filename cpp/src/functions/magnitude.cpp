#include "functions/magnitude.hpp"

#include <atomic>
#include <bit>

#include "kernels/table.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

constexpr std::int64_t kGrain = 1 << 16;  ///< numbers that are too few to share among threads

}  // namespace

template <class T>
double largest_magnitude(const T* values, std::int64_t count) {
  const auto kernel = kernels::active<T>().largest_magnitude;
  if (count <= kGrain) return static_cast<double>(kernel(values, count));
  std::atomic<std::uint64_t> largest{0};  // as the kernel compares: bits without a sign
  parallel_for(count, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    const auto found = std::bit_cast<std::uint64_t>(static_cast<double>(kernel(values + begin, end - begin)));
    std::uint64_t known = largest.load(std::memory_order_relaxed);
    while (found > known && !largest.compare_exchange_weak(known, found, std::memory_order_relaxed)) continue;
  });
  return std::bit_cast<double>(largest.load(std::memory_order_relaxed));
}

template double largest_magnitude(const float*, std::int64_t);
template double largest_magnitude(const double*, std::int64_t);

}  // namespace nncore
