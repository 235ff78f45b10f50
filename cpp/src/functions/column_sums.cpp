#include "functions/column_sums.hpp"

#include <algorithm>
#include <cstdint>

#include "kernels/table.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

constexpr std::int64_t kBlockRows = 256;     ///< rows that are added one after the other
constexpr std::int64_t kChunkColumns = 128;  ///< columns that one call of the kernel takes
constexpr std::int64_t kGrain = 1 << 15;     ///< elements that are too few to share among threads

template <class T>
kernels::Rows<const T> rows_at(Matrix<const T> m, std::int64_t row, std::int64_t column) {
  return {m.data != nullptr ? &m(row, column) : nullptr, m.row_stride};
}

/// Threads divide the columns, so that a sum is one thread's.
template <class T>
void add_blocks(Matrix<const T> x, Matrix<const T> g, const double* center, double* sums, double* products) {
  const auto kernel = kernels::active<T>().column_sums;
  const std::int64_t grain = std::max<std::int64_t>(16, kGrain / std::max<std::int64_t>(1, x.rows));
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

}  // namespace

template <class T>
void column_sums(Matrix<const T> x, const double* center, double* sums) {
  add_blocks<T>(x, {}, center, sums, nullptr);
}

template <class T>
void column_products(Matrix<const T> g, Matrix<const T> x, const double* center, double* sums,
                     double* products) {
  add_blocks<T>(x, g, center, sums, products);
}

#define NNCORE_INSTANTIATE(T)                                         \
  template void column_sums(Matrix<const T>, const double*, double*); \
  template void column_products(Matrix<const T>, Matrix<const T>, const double*, double*, double*);
NNCORE_INSTANTIATE(float)
NNCORE_INSTANTIATE(double)
#undef NNCORE_INSTANTIATE

}  // namespace nncore
