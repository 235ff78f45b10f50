#include "functions/reductions.hpp"

#include <algorithm>
#include <atomic>
#include <bit>

#include "functions/blocks.hpp"
#include "kernels/table.hpp"

namespace nncore {
namespace {

constexpr std::int64_t kMagnitudeGrain = 1 << 16;  ///< up to this many numbers stay on one thread

constexpr std::int64_t kSquaresBlock = 1 << 14;
constexpr std::int64_t kSquaresBlocks = 256;  ///< blocks that threads share before their sums are added
constexpr std::int64_t kSquaresGrain = 4;     ///< up to this many blocks stay on one thread

constexpr std::int64_t kBlockRows = 256;        ///< rows added one after the other
constexpr std::int64_t kChunkColumns = 128;     ///< columns per call of the kernel
constexpr std::int64_t kColumnGrain = 1 << 15;  ///< up to about this many elements stay on one thread

}  // namespace

template <class T>
double largest_magnitude(const T* values, std::int64_t count) {
  const auto kernel = kernels::active<T>().largest_magnitude;
  if (count <= kMagnitudeGrain) return static_cast<double>(kernel(values, count));
  std::atomic<std::uint64_t> largest{0};  // as bits without a sign, which the kernel compares too
  parallel_for(count, kMagnitudeGrain, [&](std::int64_t begin, std::int64_t end, int) {
    const auto found = std::bit_cast<std::uint64_t>(static_cast<double>(kernel(values + begin, end - begin)));
    std::uint64_t known = largest.load(std::memory_order_relaxed);
    while (found > known && !largest.compare_exchange_weak(known, found, std::memory_order_relaxed)) continue;
  });
  return std::bit_cast<double>(largest.load(std::memory_order_relaxed));
}

template <class T>
double sum_of_squares(const T* values, std::int64_t count, double scale) {
  const auto kernel = kernels::active<T>().sum_of_squares;
  double sums[kSquaresBlocks], total = 0.0;
  for (std::int64_t first = 0; first < count; first += kSquaresBlocks * kSquaresBlock) {
    const std::int64_t here = std::min(count - first, kSquaresBlocks * kSquaresBlock);
    const std::int64_t blocks = divide_up(here, kSquaresBlock);
    parallel_for(blocks, kSquaresGrain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t block = begin; block < end; ++block) {
        const std::int64_t start = block * kSquaresBlock;
        sums[block] = kernel(values + first + start, std::min(kSquaresBlock, here - start), scale);
      }
    });
    for (std::int64_t block = 0; block < blocks; ++block) total += sums[block];
  }
  return total;
}

/// Threads divide the columns, so that each sum is formed by one thread.
template <class T>
void column_sums(Matrix<const T> x, Matrix<const T> g, const double* center, double* sums, double* products) {
  const auto kernel = kernels::active<T>().column_sums;
  const std::int64_t grain = std::max<std::int64_t>(16, kColumnGrain / std::max<std::int64_t>(1, x.rows));
  parallel_for(x.columns, grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t column = begin; column < end; column += kChunkColumns) {
      const std::int64_t columns = std::min(kChunkColumns, end - column);
      std::fill_n(sums + column, columns, 0.0);
      if (products != nullptr) std::fill_n(products + column, columns, 0.0);
      for (std::int64_t row = 0; row < x.rows; row += kBlockRows) {
        double block[kChunkColumns] = {}, block_products[kChunkColumns] = {};
        kernel({.x = rows_at(x, row, column),
                .g = rows_at(g, row, column),
                .rows = std::min(kBlockRows, x.rows - row),
                .columns = columns,
                .center = center != nullptr ? center + column : nullptr,
                .sums = block,
                .products = block_products});
        for (std::int64_t j = 0; j < columns; ++j) {
          sums[column + j] += block[j];
          if (products != nullptr) products[column + j] += block_products[j];
        }
      }
    }
  });
}

#define NNCORE_INSTANTIATE(T)                                     \
  template double largest_magnitude(const T*, std::int64_t);      \
  template double sum_of_squares(const T*, std::int64_t, double); \
  template void column_sums(Matrix<const T>, Matrix<const T>, const double*, double*, double*);
NNCORE_INSTANTIATE(float)
NNCORE_INSTANTIATE(double)
#undef NNCORE_INSTANTIATE

}  // namespace nncore
