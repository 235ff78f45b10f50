#include "functions/sum_of_squares.hpp"

#include <algorithm>
#include <array>

#include "kernels/table.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

constexpr std::int64_t kBlock = 1 << 14;
constexpr std::int64_t kBlocks = 256;  ///< that are summed together, shared among threads
constexpr std::int64_t kGrain = 4;     ///< blocks that are too few to share

}  // namespace

template <class T>
double sum_of_squares(const T* values, std::int64_t count, double scale) {
  const auto kernel = kernels::active<T>().sum_of_squares;
  std::array<double, kBlocks> sums;
  double total = 0.0;
  for (std::int64_t first = 0; first < count; first += kBlocks * kBlock) {
    const std::int64_t here = std::min(count - first, kBlocks * kBlock);
    const std::int64_t blocks = (here + kBlock - 1) / kBlock;
    parallel_for(blocks, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t block = begin; block < end; ++block) {
        const std::int64_t start = block * kBlock;
        sums[static_cast<std::size_t>(block)] =
            kernel(values + first + start, std::min(kBlock, here - start), scale);
      }
    });
    for (std::int64_t block = 0; block < blocks; ++block) total += sums[static_cast<std::size_t>(block)];
  }
  return total;
}

template double sum_of_squares(const float*, std::int64_t, double);
template double sum_of_squares(const double*, std::int64_t, double);

}  // namespace nncore
