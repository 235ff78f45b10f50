#include "matmul.hpp"

#include <algorithm>

#include "nncore/runtime.hpp"

namespace nncore {
namespace {

/// Rows of a that one packed panel serves: enough to make packing cheap, few enough for the L2 cache.
constexpr std::int64_t kRowBlock = 240;

/// From this many rows on, walking a packed panel is worth the packing even if b could be read in place.
constexpr std::int64_t kPackRows = 48;

/// Work below this stays on the calling thread.
constexpr double kMinimumFlops = 4e5;

template <class T>
struct Product {
  const kernels::Kernels<T>& kernels;
  Matrix<const T> a, b;
  Matrix<T> c;
  const MatmulOptions<T>& options;
  Scratch scratch;
  std::int64_t panel_width;  ///< columns of a full panel

  void run_task(std::int64_t row, std::int64_t column, int worker) const;
  void run_rows(kernels::TileCall<T> call, std::int64_t row, std::int64_t rows, std::int64_t column,
                bool last) const;
  void finish(std::int64_t row, std::int64_t rows, std::int64_t column, std::int64_t columns) const;
};

template <class T>
void Product<T>::finish(std::int64_t row, std::int64_t rows, std::int64_t column,
                        std::int64_t columns) const {
  const auto activation = static_cast<std::size_t>(options.finish.activation);
  for (std::int64_t r = row; r < row + rows; ++r) {
    T* values = &c(r, column);
    if (options.finish.derivative) {
      kernels.activation_backward[activation](values, &options.finish.output(r, column), values, columns,
                                              false);
    } else {
      kernels.activation_forward[activation](values, values, columns);
    }
  }
}

/// All row tiles of one panel and chain, of nearly equal heights: 32 rows are 6, 6, 5, 5, 5, 5.
template <class T>
void Product<T>::run_rows(kernels::TileCall<T> call, std::int64_t row, std::int64_t rows, std::int64_t column,
                          bool last) const {
  const int vectors = static_cast<int>((call.columns + kernels.lanes - 1) / kernels.lanes);
  const std::int64_t tallest = kernels.tile_rows[vectors - 1];
  std::int64_t tiles_left = (rows + tallest - 1) / tallest;
  const bool finishes = last && options.finish.activation != Activation::identity;
  for (const std::int64_t end = row + rows; row < end; --tiles_left) {
    const std::int64_t height = (end - row + tiles_left - 1) / tiles_left;
    kernels::TileCall<T> tile = call;
    tile.a += row * a.row_stride;
    tile.c = &c(row, column);
    kernels.tile[vectors - 1][height - 1](tile);
    if (finishes) finish(row, height, column, call.columns);
    row += height;
  }
}

template <class T>
void Product<T>::run_task(std::int64_t row, std::int64_t column, int worker) const {
  const std::int64_t rows = std::min(kRowBlock, a.rows - row);
  const std::int64_t columns = std::min(panel_width, b.columns - column);
  const std::int64_t chain = chain_length(a.columns);
  const bool packs = b.column_stride != 1 || rows >= kPackRows;

  kernels::TileCall<T> call{};
  call.a_row_stride = a.row_stride;
  call.a_depth_stride = a.column_stride;
  call.c_row_stride = c.row_stride;
  call.columns = columns;
  for (std::int64_t k = 0; k < a.columns; k += chain) {
    call.depth = std::min(chain, a.columns - k);
    call.a = a.data + k * a.column_stride;
    call.b = b.data + k * b.row_stride + column * b.column_stride;
    call.b_depth_stride = b.row_stride;
    if (packs) {
      const std::int64_t width = (columns + kernels.lanes - 1) / kernels.lanes * kernels.lanes;
      T* panel = reinterpret_cast<T*>(scratch.data + worker * scratch.bytes_per_worker);
      kernels.pack(call.b, b.row_stride, b.column_stride, call.depth, columns, width, panel);
      call.b = panel;
      call.b_depth_stride = width;
    }
    const bool first = k == 0;
    call.bias = first && options.bias != nullptr ? options.bias + column : nullptr;
    call.add = !first || options.accumulate;
    run_rows(call, row, rows, column, k + chain >= a.columns);
  }
}

/// The sum over nothing: bias or zero.
template <class T>
void fill_empty_sum(Matrix<T> c, const T* bias) {
  for (std::int64_t r = 0; r < c.rows; ++r) {
    for (std::int64_t n = 0; n < c.columns; ++n) c(r, n) = bias != nullptr ? bias[n] : T{0};
  }
}

}  // namespace

template <class T>
void matmul(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, const MatmulOptions<T>& options,
            Scratch scratch) {
  if (c.rows == 0 || c.columns == 0) return;
  if (a.columns == 0) {
    if (!options.accumulate) fill_empty_sum(c, options.bias);
    return;
  }
  if (c.column_stride != 1) {  // c is laid out by columns: compute its transpose, c^T = b^T a^T
    return matmul<T>(b.transposed(), a.transposed(), c.transposed(), options, scratch);
  }
  const kernels::Kernels<T>& kernels = kernels::active<T>();
  const std::int64_t panel_width = std::int64_t{kernels.tile_vectors} * kernels.lanes;
  const Product<T> product{kernels, a, b, c, options, scratch, panel_width};

  const std::int64_t panels = (c.columns + panel_width - 1) / panel_width;
  const std::int64_t row_blocks = (c.rows + kRowBlock - 1) / kRowBlock;
  const double flops =
      2.0 * static_cast<double>(c.rows) * static_cast<double>(c.columns) * static_cast<double>(a.columns);
  const std::int64_t tasks = panels * row_blocks;
  const auto grain = std::clamp(static_cast<std::int64_t>(kMinimumFlops / flops * static_cast<double>(tasks)),
                                std::int64_t{1}, tasks);
  parallel_for(
      tasks, grain,
      [&](std::int64_t begin, std::int64_t end, int worker) {
        for (std::int64_t task = begin; task < end; ++task) {
          product.run_task(task / panels * kRowBlock, task % panels * panel_width, worker);
        }
      },
      scratch.workers);
}

template void matmul<float>(Matrix<const float>, Matrix<const float>, Matrix<float>,
                            const MatmulOptions<float>&, Scratch);
template void matmul<double>(Matrix<const double>, Matrix<const double>, Matrix<double>,
                             const MatmulOptions<double>&, Scratch);

}  // namespace nncore
