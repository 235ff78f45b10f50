#include "product/sparse_matmul.hpp"

#include <algorithm>
#include <bit>

#include "functions/blocks.hpp"

namespace nncore {
namespace {

/// Skipping pays if at most this many of 16 elements are not zero, because each step takes longer for a
/// single row than for a tile of rows. A result that is transposed at the end needs more zeros and a longer
/// sum.
constexpr std::int64_t kMostOf16 = 10;
constexpr std::int64_t kMostOf16ByColumns = 9;
constexpr std::int64_t kDepthByColumns = 64;

/// A single row reads b in place, if b has at least kOneRowEntries entries: from the L2 cache, if b has fewer
/// bytes than kOneRowNearBytes, else in strips of rows (kernels/strip.hpp). Only the middle of the row is
/// inspected, because the product itself is short.
constexpr std::int64_t kMostOf64OfOneRow = 56;
constexpr std::int64_t kOneRowEntries = 1024;
constexpr std::int64_t kOneRowNearBytes = 1 << 20;

/// How many lines of an operand are inspected.
constexpr std::int64_t kSampledLines = 8;

/// A packed block of b should serve at least this many rows.
constexpr std::int64_t kTaskRows = 64;

template <class T>
struct SparseProduct {
  const kernels::Kernels<T>& kernels;
  Matrix<const T> a, b;
  Matrix<T> c;  ///< laid out by columns only if the product is just stored: no bias, accumulation or epilogue
  const MatmulOptions<T>& options;
  Scratch scratch;
  std::int64_t panel_width;

  void run_task(Extent rows, Extent columns, int worker) const;
  void run_chain(Matrix<const T> left, Extent rows, Extent columns, Extent depth, int worker) const;
  void end_chain(kernels::SparseCall<T> call, Extent rows, Extent columns, Extent depth, int worker) const;
  void run_dense(Extent rows, Extent columns, Extent depth, int worker) const;
  void store_by_columns(Matrix<const T> tile, std::int64_t row, std::int64_t column) const;
  Matrix<const T> next_block(Extent columns, Extent depth, std::int64_t k) const;

  auto tile_of(Extent columns) const { return kernels.sparse_tile[vectors_of(columns.count) - 1]; }
  std::int64_t vectors_of(std::int64_t elements) const { return divide_up(elements, kernels.lanes); }
  std::int64_t whole_vectors(std::int64_t elements) const { return vectors_of(elements) * kernels.lanes; }
  bool is_by_columns() const { return c.column_stride != 1; }

  // The scratch of a worker: first what tiles take, then the three parts of sparse_scratch_bytes.
  T* block_of(int worker) const {
    return reinterpret_cast<T*>(scratch.data + worker * scratch.bytes_per_worker +
                                tiles_scratch_bytes(c.rows, c.columns, a.columns));
  }
  T* sums_of(int worker) const { return block_of(worker) + kSparseDepth * kSparseRowBytes / kSize<T>; }
  T* left_of(int worker) const { return sums_of(worker) + kSparseRows * kSparseRowBytes / kSize<T>; }
};

template <class T>
Matrix<const T> slice(Matrix<const T> matrix, Extent rows, Extent columns) {
  return matrix.row_range(rows.first, rows.count).column_range(columns.first, columns.count);
}

template <class T>
void SparseProduct<T>::run_task(Extent rows, Extent columns, int worker) const {
  const std::int64_t chain = chain_length(a.columns);
  for (std::int64_t k = 0; k < a.columns; k += chain) {
    const Extent depth{k, std::min(chain, a.columns - k)};
    Matrix<const T> left = slice(a, rows, depth);
    if (left.column_stride != 1) {  // the kernel reads rows
      T* const packed = left_of(worker);
      const std::int64_t width = whole_vectors(depth.count);
      kernels.pack(left.data, left.row_stride, left.column_stride, rows.count, depth.count, width, packed,
                   width);
      left = {packed, rows.count, depth.count, width};
    }
    const bool is_long = is_long_block(rows.count, columns.count, depth.count);
    for (std::int64_t j = 0; j < columns.count; j += panel_width) {
      if (is_long) check_interrupt();
      run_chain(left, rows, {columns.first + j, std::min(panel_width, columns.count - j)}, depth, worker);
    }
  }
}

/// One chain of a block of rows in one panel. Between the parts of the depth the chains stay in scratch,
/// because the rows of c may lie so far apart that they share few sets of the caches.
template <class T>
void SparseProduct<T>::run_chain(Matrix<const T> left, Extent rows, Extent columns, Extent depth,
                                 int worker) const {
  const std::int64_t width = whole_vectors(columns.count);
  T* const block = block_of(worker);
  kernels::SparseCall<T> call{};
  call.a_row_stride = left.row_stride;
  call.b = block;
  if (depth.first == 0 && options.bias != nullptr) call.bias = options.bias + columns.first;
  call.sums = sums_of(worker);
  call.sums_row_stride = width;
  call.c = is_by_columns() ? call.sums : &c(rows.first, columns.first);
  call.c_row_stride = is_by_columns() ? width : c.row_stride;
  call.add = depth.first > 0 || options.accumulate;
  call.scale = options.scale;
  call.columns = columns.count;
  for (std::int64_t k = 0; k < depth.count; k += call.depth) {
    call.depth = std::min(kSparseDepth, depth.count - k);
    call.a = left.data + k;
    call.resume = k > 0;
    call.ends = k + call.depth == depth.count;
    Matrix<const T> next = next_block(columns, depth, k + call.depth);
    if (next.column_stride != 1) next = next.transposed();
    call.ahead = next.data;
    call.ahead_rows = next.rows;
    call.ahead_columns = next.columns;
    call.ahead_stride = next.row_stride;
    kernels.pack(&b(depth.first + k, columns.first), b.row_stride, b.column_stride, call.depth, columns.count,
                 width, block, width);
    if (!kernels.all_finite(block, call.depth * width)) return run_dense(rows, columns, depth, worker);
    if (call.ends)
      end_chain(call, rows, columns, depth, worker);
    else
      tile_of(columns)(call, rows.count);
  }
}

/// The part of b to pack next once depth k of this panel's chain is reached; empty after the last panel.
template <class T>
Matrix<const T> SparseProduct<T>::next_block(Extent columns, Extent depth, std::int64_t k) const {
  if (k == depth.count) {
    columns.first += columns.count;
    columns.count = std::min(panel_width, c.columns - columns.first);
    k = 0;
  }
  return slice(b, {depth.first + k, std::min(kSparseDepth, depth.count - k)}, columns);
}

/// The last part of a chain, then the epilogue. Rows that the kernel leaves to tiles are computed one by one.
template <class T>
void SparseProduct<T>::end_chain(kernels::SparseCall<T> call, Extent rows, Extent columns, Extent depth,
                                 int worker) const {
  const bool ends = options.epilogue && depth.first + depth.count == a.columns;
  // By columns, a tile has as many rows as columns: each row prefetches a line that the tile is stored to.
  const std::int64_t height = is_by_columns() ? whole_vectors(columns.count)
                              : ends          ? kEpilogueRows
                                              : rows.count;
  for (std::int64_t r = 0; r < rows.count;) {
    const std::int64_t row = rows.first + r, count = std::min(height, rows.count - r);
    if (is_by_columns()) {
      call.ahead = &c(row, columns.first);
      call.ahead_rows = columns.count;
      call.ahead_columns = count;
      call.ahead_stride = c.column_stride;
    }
    const std::int64_t done = tile_of(columns)(call, count);
    const Matrix<T> tile(call.c, done, columns.count, call.c_row_stride);
    if (is_by_columns()) store_by_columns(tile, row, columns.first);
    if (ends) options.epilogue(tile, row, columns.first);
    if (done < count) run_dense({row + done, 1}, columns, depth, worker);
    const std::int64_t step = std::min(done + 1, count);
    call.a += step * call.a_row_stride;
    call.sums += step * call.sums_row_stride;
    call.c += step * call.c_row_stride;
    call.ahead += step * call.ahead_stride;
    call.ahead_rows -= step;
    r += step;
  }
}

/// Stores a tile whose first element is c(row, column), one cache line after another.
template <class T>
void SparseProduct<T>::store_by_columns(Matrix<const T> tile, std::int64_t row, std::int64_t column) const {
  const std::int64_t whole = tile.rows / kernels.pack_lanes * kernels.pack_lanes;
  for (std::int64_t j = 0; j < tile.columns; j += kLine<T>) {
    kernels.pack(&tile(0, j), 1, tile.row_stride, std::min(kLine<T>, tile.columns - j), whole, whole,
                 &c(row, column + j), c.column_stride);
  }
  for (std::int64_t i = whole; i < tile.rows; ++i)
    for (std::int64_t j = 0; j < tile.columns; ++j) c(row + i, column + j) = tile(i, j);
}

/// A chain by tiles, on this thread.
template <class T>
void SparseProduct<T>::run_dense(Extent rows, Extent columns, Extent depth, int worker) const {
  MatmulOptions<T> part = options;
  part.accumulate = depth.first > 0 || options.accumulate;
  if (depth.first > 0) part.bias = nullptr;
  if (depth.first + depth.count < a.columns) part.epilogue = {};
  const Scratch own{scratch.data + worker * scratch.bytes_per_worker, scratch.bytes_per_worker, 1};
  matmul_block<T>(a.column_range(depth.first, depth.count), b.row_range(depth.first, depth.count), c, part,
                  rows, columns, own);
}

template <class T>
bool has_many_zeros(Matrix<const T> matrix, std::int64_t most_of_16) {
  if (matrix.column_stride != 1) matrix = matrix.transposed();
  if (matrix.column_stride != 1) return false;
  const std::int64_t lines = std::min(matrix.rows, kSampledLines);
  std::int64_t left = most_of_16 * lines * matrix.columns;
  for (std::int64_t i = 0; i < lines && left >= 0; ++i)
    left -= 16 * kernels::active<T>().count_nonzero(&matrix(i * matrix.rows / lines, 0), matrix.columns);
  return left >= 0;
}

template <class T>
void run_rows(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, const MatmulOptions<T>& options,
              Scratch scratch) {
  const kernels::Kernels<T>& kernels = kernels::active<T>();
  const std::int64_t m = c.rows, n = c.columns;
  const int threads = threads_for(m, n, a.columns, scratch.workers);
  const std::int64_t vectors = divide_up(n, kernels.lanes);
  const std::int64_t panels = divide_up(vectors, kernels::kMaxTileVectors);

  std::int64_t tallest = kSparseRows;
  bool rows_first = false;  // threads divide the rows, so that each packs only its own part of a
  if (a.column_stride != 1) {
    const std::int64_t row_bytes =
        divide_up(chain_length(a.columns), kernels.lanes) * kernels.lanes * kSize<T>;
    tallest = std::min(tallest, kLeftBytes / row_bytes / kLine<T> * kLine<T>);
    rows_first = m >= n;
  }
  const std::int64_t most = std::max<std::int64_t>(1, m / kTaskRows);
  std::int64_t blocks = divide_up(m, tallest);
  if (rows_first) blocks = std::max(blocks, std::min<std::int64_t>(threads, most));
  const std::int64_t across = std::min(panels, divide_up(threads, blocks));
  blocks = std::max(blocks, std::min(divide_up(threads, across), most));
  if (blocks > threads) blocks = divide_up(blocks, threads) * threads;
  const std::int64_t height = std::min(tallest, divide_up(divide_up(m, blocks), kLine<T>) * kLine<T>);
  // Tasks are as equal as possible, and so are their panels, of at most as many registers as a tile has.
  const std::int64_t width = divide_up(vectors, across);
  const std::int64_t panel_vectors = divide_up(width, divide_up(width, kernels::kMaxTileVectors));
  const SparseProduct<T> product{kernels, a, b, c, options, scratch, panel_vectors * kernels.lanes};
  for_each_block(m, height, n, width * kernels.lanes, threads,
                 [&](Extent rows, Extent columns, int worker) { product.run_task(rows, columns, worker); });
}

/// sums (N) = [bias +] a (1, depth) b (depth, N), one chain: with the sums of a panel in registers.
template <class T>
void run_row_by_panels(Matrix<const T> a, Matrix<const T> b, const T* bias, T* sums) {
  const kernels::Kernels<T>& kernels = kernels::active<T>();
  const std::int64_t widest = std::int64_t{kernels::kMaxTileVectors} * kernels.lanes;
  kernels::SparseRowCall<T> call{};
  call.depth = a.columns;
  call.a = a.data;
  call.b_row_stride = b.row_stride;
  for (std::int64_t column = 0; column < b.columns; column += widest) {
    call.b = &b(0, column);
    if (bias != nullptr) call.bias = bias + column;
    call.sums = sums + column;
    call.columns = std::min(widest, b.columns - column);
    kernels.sparse_row[divide_up(call.columns, kernels.lanes) - 1](call);
  }
}

/// The same, with several rows of b side by side.
template <class T>
void run_row_by_bands(Matrix<const T> a, Matrix<const T> b, const T* bias, T* sums) {
  const kernels::Kernels<T>& kernels = kernels::active<T>();
  kernels::StripCall<T> call{};
  call.bias = bias;
  call.c = sums;
  call.columns = b.columns;
  const auto run_band = [&] {
    kernels.strip(call);
    call.resume = true;
    call.depth = 0;
  };
  for (std::int64_t k = 0; k < a.columns; k += kSparseDepth) {
    std::uint64_t steps = kernels.nonzero_bits(&a(0, k), std::min(kSparseDepth, a.columns - k));
    for (; steps != 0; steps &= steps - 1) {
      const std::int64_t step = k + std::countr_zero(steps);
      call.factors[call.depth] = a(0, step);
      call.rows[call.depth] = &b(step, 0);
      if (++call.depth == kernels::kStripDepth) run_band();
    }
  }
  if (call.depth > 0 || !call.resume) run_band();
}

template <class T>
bool skips_zeros_of_one_row(Matrix<const T> a, Matrix<const T> b, const MatmulOptions<T>& options) {
  const bool fits = b.columns * kSize<T> <= tiles_scratch_bytes(1, b.columns, a.columns);  // sums, in scratch
  if (!options.finite_b || options.accumulate || a.column_stride != 1 || b.column_stride != 1 || !fits ||
      b.rows * b.columns < kOneRowEntries)
    return false;
  const std::int64_t count = std::min(a.columns, kSparseDepth);
  const std::uint64_t bits = kernels::active<T>().nonzero_bits(&a(0, (a.columns - count) / 2), count);
  return 64 * std::popcount(bits) <= kMostOf64OfOneRow * count;
}

/// The product of a single row, where b is finite: each row of b is read once, or not at all.
template <class T>
void run_row(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, const MatmulOptions<T>& options,
             Scratch scratch) {
  const kernels::Kernels<T>& kernels = kernels::active<T>();
  const std::int64_t chain = chain_length(a.columns);
  const bool is_near = b.rows * b.columns * kSize<T> < kOneRowNearBytes;
  const auto run_chain = is_near ? run_row_by_panels<T> : run_row_by_bands<T>;
  const int threads = threads_for(1, c.columns, a.columns, scratch.workers);
  const std::int64_t widest = std::int64_t{kernels::kMaxTileVectors} * kernels.lanes;
  const std::int64_t width =
      threads == 1 ? c.columns : divide_up(divide_up(c.columns, threads), widest) * widest;
  for_each_block(1, 1, c.columns, width, threads, [&](Extent row, Extent columns, int worker) {
    const Scratch own{scratch.data + worker * scratch.bytes_per_worker, scratch.bytes_per_worker, 1};
    const Matrix<T> result = c.column_range(columns.first, columns.count);
    for (std::int64_t k = 0; k < a.columns; k += chain) {
      const Extent depth{k, std::min(chain, a.columns - k)};
      T* const sums = k == 0 ? result.data : reinterpret_cast<T*>(own.data);
      const bool has_bias = k == 0 && options.bias != nullptr;
      run_chain(slice(a, row, depth), slice(b, depth, columns),
                has_bias ? options.bias + columns.first : nullptr, sums);
      if (k > 0) kernels.add(result.data, sums, result.data, columns.count);
    }
    if (kernels.has_minus_zero(result.data, columns.count))  // see kernels/sparse.hpp
      matmul_block<T>(a, b, c, options, row, columns, own);
    else if (options.epilogue)
      options.epilogue(result, 0, columns.first);
  });
}

}  // namespace

template <class T>
bool matmul_sparse(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, const MatmulOptions<T>& options,
                   Scratch scratch) {
  const std::int64_t k = a.columns;
  if (c.rows == 1) {
    if (!skips_zeros_of_one_row(a, b, options)) return false;
    run_row(a, b, c, options, scratch);
    return true;
  }
  if (may_skip_zeros(c.rows, c.columns, k) && has_many_zeros(a, kMostOf16)) {
    run_rows(a, b, c, options, scratch);
    return true;
  }
  const bool only_stores = !options.accumulate && options.bias == nullptr && !options.epilogue;
  if (only_stores && k >= kDepthByColumns && k <= kMaxChain && may_skip_zeros(c.columns, c.rows, k) &&
      has_many_zeros(b, kMostOf16ByColumns)) {
    run_rows(b.transposed(), a.transposed(), c.transposed(), options, scratch);
    return true;
  }
  return false;
}

template bool matmul_sparse<float>(Matrix<const float>, Matrix<const float>, Matrix<float>,
                                   const MatmulOptions<float>&, Scratch);
template bool matmul_sparse<double>(Matrix<const double>, Matrix<const double>, Matrix<double>,
                                    const MatmulOptions<double>&, Scratch);

}  // namespace nncore
