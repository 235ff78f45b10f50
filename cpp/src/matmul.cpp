#include "matmul.hpp"

#include <algorithm>

#include "nncore/runtime.hpp"

namespace nncore {
namespace {

/// Rows of a that one packed panel serves: enough to make packing cheap, few enough for the L2 cache.
constexpr std::int64_t kRowBlock = 240;

/// From this many rows on, packing pays even where b could be read in place.
constexpr std::int64_t kPackRows = 32;

/// In place, a part of b that is larger than this is walked in bands of this many rows.
constexpr std::int64_t kCachedBytes = 1 << 17;
constexpr std::int64_t kBandDepth = 32;

/// Work below this stays on the calling thread.
constexpr double kMinimumFlops = 4e5;

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Columns first .. first + count of the result.
struct Range {
  std::int64_t first, count;
};

template <class T>
struct Product {
  const kernels::Kernels<T>& kernels;
  Matrix<const T> a, b;
  Matrix<T> c;
  const MatmulOptions<T>& options;
  Scratch scratch;
  std::int64_t panel_width;  ///< columns of the widest tile
  bool packs;

  void run_task(std::int64_t row, std::int64_t rows, Range columns, int worker) const;
  void run_packed(kernels::TileCall<T> call, std::int64_t rows, Range columns, int worker) const;
  void run_in_place(kernels::TileCall<T> call, std::int64_t rows, Range columns) const;
  void run_rows(kernels::TileCall<T> call, std::int64_t rows) const;
  void finish(std::int64_t row, std::int64_t rows, Range columns) const;
};

/// All row tiles of one panel and chain, of nearly equal heights: 32 rows are 6, 6, 5, 5, 5, 5.
template <class T>
void Product<T>::run_rows(kernels::TileCall<T> call, std::int64_t rows) const {
  const auto vectors = static_cast<std::size_t>(divide_up(call.columns, kernels.lanes));
  const std::int64_t tallest = kernels.tile_rows[vectors - 1];
  for (std::int64_t tiles = divide_up(rows, tallest); tiles > 0; --tiles) {
    const std::int64_t height = divide_up(rows, tiles);
    kernels.tile[vectors - 1][height - 1](call);
    call.a += height * a.row_stride;
    call.c += height * c.row_stride;
    rows -= height;
  }
}

/// One panel, packed for all rows of the block.
template <class T>
void Product<T>::run_packed(kernels::TileCall<T> call, std::int64_t rows, Range columns, int worker) const {
  const std::int64_t width = divide_up(columns.count, kernels.lanes) * kernels.lanes;
  T* panel = reinterpret_cast<T*>(scratch.data + worker * scratch.bytes_per_worker);
  kernels.pack(call.b, b.row_stride, b.column_stride, call.depth, columns.count, width, panel);
  call.b = panel;
  call.b_depth_stride = width;
  call.columns = columns.count;
  run_rows(call, rows);
}

/// b as it lies. A large one is walked in bands of rows, each from left to right, so that memory is read in
/// order and once; a chain is left in c between bands. (One that is added at its end cannot be.)
template <class T>
void Product<T>::run_in_place(kernels::TileCall<T> call, std::int64_t rows, Range columns) const {
  const kernels::TileCall<T> chain = call;
  const auto bytes = chain.depth * columns.count * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t band = bytes <= kCachedBytes || chain.add ? chain.depth : kBandDepth;
  for (std::int64_t k = 0; k < chain.depth; k += band) {
    call.depth = std::min(band, chain.depth - k);
    call.resume = k > 0;
    for (std::int64_t column = 0; column < columns.count; column += panel_width) {
      call.a = chain.a + k * a.column_stride;
      call.b = chain.b + k * b.row_stride + column;
      call.c = chain.c + column;
      call.bias = chain.bias != nullptr ? chain.bias + column : nullptr;
      call.columns = std::min(panel_width, columns.count - column);
      run_rows(call, rows);
    }
  }
}

template <class T>
void Product<T>::finish(std::int64_t row, std::int64_t rows, Range columns) const {
  const auto activation = static_cast<std::size_t>(options.finish.activation);
  const kernels::Rows<T> values{&c(row, columns.first), c.row_stride};
  if (options.finish.derivative) {
    const Matrix<const T> output = options.finish.output;
    kernels.activation_backward[activation]({values.data, values.row_stride},
                                            {&output(row, columns.first), output.row_stride}, values, rows,
                                            columns.count, false);
  } else {
    kernels.activation_forward[activation]({values.data, values.row_stride}, values, rows, columns.count);
  }
}

template <class T>
void Product<T>::run_task(std::int64_t row, std::int64_t rows, Range columns, int worker) const {
  const std::int64_t chain = chain_length(a.columns);
  kernels::TileCall<T> call{};
  call.a_row_stride = a.row_stride;
  call.a_depth_stride = a.column_stride;
  call.b_depth_stride = b.row_stride;
  call.c_row_stride = c.row_stride;
  call.c = &c(row, columns.first);
  for (std::int64_t k = 0; k < a.columns; k += chain) {
    call.depth = std::min(chain, a.columns - k);
    call.a = &a(row, k);
    call.b = &b(k, columns.first);
    call.bias = k == 0 && options.bias != nullptr ? options.bias + columns.first : nullptr;
    call.add = k > 0 || options.accumulate;
    if (packs)
      run_packed(call, rows, columns, worker);
    else
      run_in_place(call, rows, columns);
  }
  if (options.finish.activation != Activation::identity) finish(row, rows, columns);
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
  // Rows of b that are no longer than a panel are packed already.
  const bool packs = b.column_stride != 1 || (c.rows >= kPackRows && b.row_stride > panel_width);
  const Product<T> product{kernels, a, b, c, options, scratch, panel_width, packs};

  const double flops =
      2.0 * static_cast<double>(c.rows) * static_cast<double>(c.columns) * static_cast<double>(a.columns);
  const auto pieces = std::max<std::int64_t>(1, std::min<std::int64_t>(num_threads(), flops / kMinimumFlops));
  const std::int64_t width =
      packs ? panel_width : divide_up(divide_up(c.columns, pieces), panel_width) * panel_width;
  const std::int64_t column_blocks = divide_up(c.columns, width);
  const std::int64_t tasks = column_blocks * divide_up(c.rows, kRowBlock);
  parallel_for(
      tasks, divide_up(tasks, pieces * 8),
      [&](std::int64_t begin, std::int64_t end, int worker) {
        for (std::int64_t task = begin; task < end; ++task) {
          const std::int64_t row = task / column_blocks * kRowBlock, column = task % column_blocks * width;
          product.run_task(row, std::min(kRowBlock, c.rows - row),
                           {column, std::min(width, c.columns - column)}, worker);
        }
      },
      static_cast<int>(std::min<std::int64_t>(pieces, scratch.workers)));
}

template void matmul<float>(Matrix<const float>, Matrix<const float>, Matrix<float>,
                            const MatmulOptions<float>&, Scratch);
template void matmul<double>(Matrix<const double>, Matrix<const double>, Matrix<double>,
                             const MatmulOptions<double>&, Scratch);

}  // namespace nncore
