#include "product/matmul.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "functions/blocks.hpp"
#include "nncore/runtime.hpp"
#include "product/sparse_matmul.hpp"

namespace nncore {
namespace {

/// Rows of a per packed panel: enough to make packing cheap.
constexpr std::int64_t kRowBlock = 512;

/// Packing pays if a panel of b is spread over more memory than kSpreadBytes and serves kPackRows rows, or
/// kMemoryPackRows if a chain reads so much of b (kMemoryBytes) that it comes from memory.
constexpr std::int64_t kSpreadBytes = 160 << 10;
constexpr std::int64_t kPackRows = 32;
constexpr std::int64_t kMemoryPackRows = 9;
constexpr std::int64_t kMemoryBytes = (1 << 22) + 1;

/// With fewer rows than kMemoryPackRows, such a b is read in strips; with one row, so is a b of kOneRowBytes,
/// which comes from the L3 cache.
constexpr std::int64_t kOneRowBytes = 1 << 20;

/// A separate product for some columns pays if the left operand has at least this many entries.
constexpr std::int64_t kApartEntries = 4096;

/// Samples whose distance is a multiple of kSameSetBytes share a set of the L1 cache. For a narrow result
/// they are packed first, in panels of kPartDepth, each of which fits in half of that cache.
constexpr std::int64_t kSameSetBytes = 4096;
constexpr std::int64_t kPartDepth = 64;

template <class T>
struct Product {
  const kernels::Kernels<T>& kernels;
  Matrix<const T> a, b;
  Matrix<T> c;
  const MatmulOptions<T>& options;
  Scratch scratch;
  std::int64_t panel_width;  ///< columns of the widest tile
  bool packs_a, packs_b;

  void run_task(Extent rows, Extent columns, int worker) const;
  void run_chain(kernels::TileCall<T> call, Extent rows, Extent columns, bool last, const T* after,
                 T* panel) const;
  void run_bands(const kernels::TileCall<T>& chain, Extent rows, Extent columns, bool last, T* own) const;
  bool takes_bands(Extent rows, Extent columns) const;
  void run_rows(kernels::TileCall<T> call, Extent rows, std::int64_t column, bool last) const;
  void run_narrow(Extent rows, int worker) const;
  void run_narrow_contiguous(kernels::TileCall<T> call) const;
  void run_narrow_transposing(const kernels::TileCall<T>& chain) const;
  void run_outer(Extent rows) const;
  void pack_b(kernels::TileCall<T>& call, T* panel) const;

  /// The number of registers that hold `elements`; the number of lanes is a power of two.
  std::int64_t vectors_of(std::int64_t elements) const {
    return (elements + kernels.lanes - 1) >> std::countr_zero(static_cast<unsigned>(kernels.lanes));
  }
  /// Whether the widest tiles have at least this many rows.
  bool is_few(std::int64_t rows) const { return rows <= kernels.tile_rows[kernels::kMaxTileVectors - 1]; }
  T* tile_of(int worker) const {
    return reinterpret_cast<T*>(scratch.data + worker * scratch.bytes_per_worker);
  }
  T* panel_of(int worker) const { return tile_of(worker) + kTileBytes / kSize<T>; }
  T* left_of(int worker) const {
    return panel_of(worker) + chain_length(a.columns) * (kPanelRowBytes / kSize<T>);
  }
};

/// All row tiles of one panel and chain, of nearly equal heights: 32 rows are 6, 6, 5, 5, 5, 5. The first
/// tile fills call.panel, if given; the last tiles prefetch what is read next, at call.ahead.
template <class T>
void Product<T>::run_rows(kernels::TileCall<T> call, Extent rows, std::int64_t column, bool last) const {
  const auto vectors = static_cast<std::size_t>(vectors_of(call.columns));
  const std::int64_t tiles = divide_up(rows.count, kernels.tile_rows[vectors - 1]);
  const std::int64_t lower = rows.count / tiles, higher_tiles = rows.count % tiles;
  const T* const next = call.ahead;
  const std::int64_t lines = next != nullptr ? panel_width / kLine<T> : 0;  // in each of its rows
  Extent done{rows.first, 0};                                               // complete, epilogue not run
  for (std::int64_t i = 0; i < tiles; ++i) {
    const std::int64_t height = i < higher_tiles ? lower + 1 : lower;
    const std::int64_t line = i - (tiles - lines);
    call.ahead = line >= 0 ? next + line * kLine<T> : nullptr;
    if (call.panel != nullptr) {
      kernels.packing_tile[height - 1](call);
      call.b = std::exchange(call.panel, nullptr);
      call.b_depth_stride = panel_width;
    } else {
      kernels.tile[vectors - 1][height - 1](call);
    }
    call.a += height * call.a_row_stride;
    call.c += height * call.c_row_stride;
    done.count += height;
    if (!last || !options.epilogue || (done.count < kEpilogueRows && i + 1 < tiles)) continue;
    T* const first = call.c - done.count * call.c_row_stride;
    options.epilogue({first, done.count, call.columns, call.c_row_stride}, done.first, column);
    done = {done.first + done.count, 0};
  }
}

/// Makes the call read a packed copy of its right operand, which is call.columns wide.
template <class T>
void Product<T>::pack_b(kernels::TileCall<T>& call, T* panel) const {
  const std::int64_t width = vectors_of(call.columns) * kernels.lanes;
  kernels.pack(call.b, b.row_stride, b.column_stride, call.depth, call.columns, width, panel, width);
  call.b = panel;
  call.b_depth_stride = width;
}

/// One chain of a task, panel by panel. `after` is what the task reads next.
template <class T>
void Product<T>::run_chain(kernels::TileCall<T> call, Extent rows, Extent columns, bool last, const T* after,
                           T* panel) const {
  const kernels::TileCall<T> chain = call;
  call.ahead_stride = b.row_stride;
  const bool is_long = is_long_block(rows.count, columns.count, call.depth);
  for (std::int64_t column = 0; column < columns.count; column += panel_width) {
    if (is_long) check_interrupt();
    call.b = chain.b + column * b.column_stride;
    call.b_depth_stride = b.row_stride;
    call.c = chain.c + column;
    call.bias = chain.bias != nullptr ? chain.bias + column : nullptr;
    call.columns = std::min(panel_width, columns.count - column);
    const bool whole_rows = packs_b && b.column_stride == 1 && call.columns == panel_width;
    call.panel = whole_rows ? panel : nullptr;
    call.ahead = !whole_rows ? nullptr : column + panel_width < columns.count ? call.b + panel_width : after;
    if (packs_b && !whole_rows) pack_b(call, panel);
    run_rows(call, rows, columns.first + column, last);
  }
}

/// One chain of a task of few rows whose b comes from memory: reads b in strips of rows, in order and once.
/// Between strips the chains stay in c, or in `own` if they are added to c at the end.
template <class T>
void Product<T>::run_bands(const kernels::TileCall<T>& chain, Extent rows, Extent columns, bool last,
                           T* own) const {
  T* const sums = chain.add ? own : chain.c;
  const std::int64_t stride = chain.add ? columns.count : chain.c_row_stride;
  kernels::StripCall<T> call{};
  call.bias = chain.bias;
  call.columns = columns.count;
  for (std::int64_t k = 0; k < chain.depth; k += kernels::kStripDepth) {
    call.depth = static_cast<int>(std::min<std::int64_t>(kernels::kStripDepth, chain.depth - k));
    call.resume = k > 0;
    for (std::int64_t row = 0; row < rows.count; ++row) {
      const T* const a_row = chain.a + row * chain.a_row_stride;
      for (int i = 0; i < call.depth; ++i) {
        call.factors[i] = a_row[(k + i) * chain.a_depth_stride];
        call.rows[i] = chain.b + (k + i) * b.row_stride;
      }
      call.c = sums + row * stride;
      kernels.strip(call);
    }
  }
  for (std::int64_t row = 0; chain.add && row < rows.count; ++row) {
    T* const c_row = chain.c + row * chain.c_row_stride;
    kernels.add(c_row, own + row * stride, c_row, columns.count);
  }
  if (last && options.epilogue)
    options.epilogue({chain.c, rows.count, columns.count, chain.c_row_stride}, rows.first, columns.first);
}

/// Whether to use run_bands: few rows, a large b, and room for the sums in the place of a panel.
template <class T>
bool Product<T>::takes_bands(Extent rows, Extent columns) const {
  const std::int64_t depth = chain_length(a.columns);
  const std::int64_t least = rows.count == 1 ? kOneRowBytes : kMemoryBytes;
  return !packs_b && rows.count < kMemoryPackRows && depth * columns.count * kSize<T> >= least &&
         rows.count * columns.count * kSize<T> <= depth * kPanelRowBytes && options.scale == T{1};
}

template <class T>
void Product<T>::run_task(Extent rows, Extent columns, int worker) const {
  const std::int64_t chain = chain_length(a.columns);
  kernels::TileCall<T> call{};
  call.c = &c(rows.first, columns.first);
  call.c_row_stride = c.row_stride;
  call.scale = options.scale;
  const bool is_long = is_long_block(rows.count, columns.count, a.columns);
  for (std::int64_t k = 0; k < a.columns; k += chain) {
    if (is_long) check_interrupt();
    call.depth = std::min(chain, a.columns - k);
    call.a = &a(rows.first, k);
    call.a_row_stride = a.row_stride;
    call.a_depth_stride = a.column_stride;
    if (packs_a) {
      T* const block = left_of(worker);
      const std::int64_t width = vectors_of(rows.count) * kernels.lanes;
      kernels.pack(call.a, a.column_stride, a.row_stride, call.depth, rows.count, width, block, width);
      call.a = block;
      call.a_row_stride = 1;
      call.a_depth_stride = width;
    }
    call.b = &b(k, columns.first);
    call.bias = k == 0 && options.bias != nullptr ? options.bias + columns.first : nullptr;
    call.add = k > 0 || options.accumulate;
    const bool last = k + call.depth == a.columns;
    const std::int64_t next_column = columns.first + columns.count;
    const T* const next_task = next_column < c.columns ? &b(0, next_column) : nullptr;
    const T* const after = last ? next_task : &b(k + call.depth, columns.first);
    if (takes_bands(rows, columns))
      run_bands(call, rows, columns, last, panel_of(worker));
    else
      run_chain(call, rows, columns, last, after, panel_of(worker));
  }
}

/// A block of rows of a result that is narrower than a register. Computes its transpose, b^T a^T, in scratch,
/// with rows of a as lanes.
template <class T>
void Product<T>::run_narrow(Extent rows, int worker) const {
  T* const block = tile_of(worker);
  for (std::int64_t n = 0; n < c.columns; ++n) {
    T* const sums = block + n * panel_width;
    if (!options.accumulate) std::fill_n(sums, rows.count, options.bias != nullptr ? options.bias[n] : T{0});
    for (std::int64_t r = 0; options.accumulate && r < rows.count; ++r) sums[r] = c(rows.first + r, n);
  }
  const bool packs = a.row_stride * kSize<T> % kSameSetBytes == 0, transposes = a.row_stride != 1 && !packs;
  const std::int64_t chain = chain_length(a.columns);
  const bool in_parts = packs && a.columns <= chain && !options.accumulate;  // parts of a single chain
  const std::int64_t step = in_parts ? std::min(chain, kPartDepth) : chain;
  kernels::TileCall<T> call{};
  call.a_row_stride = b.column_stride;
  call.a_depth_stride = b.row_stride;
  call.b_depth_stride = a.column_stride;
  call.c_row_stride = panel_width;
  call.scale = options.scale;
  for (std::int64_t k = 0; k < a.columns; k += step) {
    call.depth = std::min(step, a.columns - k);
    call.resume = in_parts || (k == 0 && !options.accumulate);
    call.add = !call.resume;
    call.a = &b(k, 0);
    call.b = &a(rows.first, k);
    call.c = block;
    call.columns = rows.count;
    if (transposes) {
      run_narrow_transposing(call);
      continue;
    }
    if (packs) {
      call.b_depth_stride = vectors_of(rows.count) * kernels.lanes;
      kernels.pack(call.b, a.column_stride, a.row_stride, call.depth, rows.count, call.b_depth_stride,
                   panel_of(worker), call.b_depth_stride);
      call.b = panel_of(worker);
    }
    run_narrow_contiguous(call);
  }
  for (std::int64_t r = 0; r < rows.count; ++r)
    for (std::int64_t n = 0; n < c.columns; ++n) c(rows.first + r, n) = block[n * panel_width + r];
  if (options.epilogue) options.epilogue(c.row_range(rows.first, rows.count), rows.first, 0);
}

/// All rows of the transpose of a narrow result, where rows of a lie side by side.
template <class T>
void Product<T>::run_narrow_contiguous(kernels::TileCall<T> call) const {
  const auto vectors = static_cast<std::size_t>(vectors_of(call.columns));
  const std::int64_t tallest = kernels.tile_rows[vectors - 1];
  for (std::int64_t n = 0; n < c.columns; n += tallest) {
    kernels.tile[vectors - 1][std::min(tallest, c.columns - n) - 1](call);
    call.a += tallest * call.a_row_stride;
    call.c += tallest * call.c_row_stride;
  }
}

/// The same, where the elements of each row of a are contiguous.
template <class T>
void Product<T>::run_narrow_transposing(const kernels::TileCall<T>& chain) const {
  const std::int64_t height = divide_up(c.columns, divide_up(c.columns, kernels::kMaxNarrowRows));
  for (std::int64_t n = 0; n < c.columns; n += height) {
    const auto count = static_cast<std::size_t>(std::min(height, c.columns - n));
    const std::int64_t width = kernels.narrow_vectors[count - 1] * kernels.lanes;
    kernels::TileCall<T> call = chain;
    call.a += n * call.a_row_stride;
    for (std::int64_t r = 0; r < chain.columns; r += width) {
      call.b = chain.b + r * a.row_stride;
      call.c = chain.c + n * call.c_row_stride + r;
      call.columns = std::min(width, chain.columns - r);
      kernels.narrow_tile[count - 1](call, a.row_stride);
    }
  }
}

/// A block of rows of a product of depth 1.
template <class T>
void Product<T>::run_outer(Extent rows) const {
  kernels::TileCall<T> call{};
  call.depth = 1;
  call.a = &a(rows.first, 0);
  call.a_row_stride = a.row_stride;
  call.b = b.data;
  call.c = &c(rows.first, 0);
  call.c_row_stride = c.row_stride;
  call.bias = options.bias;
  call.add = options.accumulate;
  call.scale = options.scale;
  call.columns = c.columns;
  kernels.rank1_update(call, rows.count);
  if (options.epilogue) options.epilogue(c.row_range(rows.first, rows.count), rows.first, 0);
}

/// The sum of no terms: bias or zero.
template <class T>
void fill_empty_sum(Matrix<T> c, const T* bias) {
  for (std::int64_t r = 0; r < c.rows; ++r) {
    for (std::int64_t n = 0; n < c.columns; ++n) c(r, n) = bias != nullptr ? bias[n] : T{0};
  }
}

/// A product by tiles, where depth, rows and columns are at least 1.
template <class T>
void matmul_dense(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, const MatmulOptions<T>& options,
                  Scratch scratch) {
  const kernels::Kernels<T>& kernels = kernels::active<T>();
  const std::int64_t m = c.rows, n = c.columns, k = a.columns;
  const int threads = threads_for(m, n, k, scratch.workers);
  const std::int64_t panel_width = std::int64_t{kernels.panel_vectors} * kernels.lanes;
  Product<T> product{kernels, a, b, c, options, scratch, panel_width, false, false};
  if (k == 1 && b.column_stride == 1) {
    return for_each_block(m, divide_up(m, threads), n, n, threads,
                          [&](Extent rows, Extent, int) { product.run_outer(rows); });
  }
  if (n <= kernels::max_narrow_columns(kernels.lanes) && m >= 2 * kernels.lanes) {
    return for_each_block(m, panel_width, n, n, threads,
                          [&](Extent rows, Extent, int worker) { product.run_narrow(rows, worker); });
  }
  // A last register of few columns costs as much as a full one. As a narrow result, these columns cost
  // their number and about four more, for transposing a.
  const std::int64_t rest = n % kernels.lanes;
  if (rest != 0 && n > kernels.lanes && rest + 4 <= kernels::max_narrow_columns(kernels.lanes) &&
      m >= 2 * kernels.lanes && m * k >= kApartEntries) {
    for (const Extent columns : {Extent{0, n - rest}, Extent{n - rest, rest}})
      matmul_block<T>(a, b, c, options, {0, m}, columns, scratch);
    return;
  }
  // If the rows of b are no longer than a panel, b is packed already.
  const bool is_spread = b.row_stride > panel_width && k * b.row_stride * kSize<T> > kSpreadBytes;
  const bool from_memory = chain_length(k) * n * kSize<T> >= kMemoryBytes;
  product.packs_b = b.column_stride != 1 || (is_spread && m >= (from_memory ? kMemoryPackRows : kPackRows));
  product.packs_a = a.row_stride == 1 && a.column_stride >= 512 && packs_left(m, n, k);
  if (!product.packs_b && product.is_few(m))
    product.panel_width = std::int64_t{kernels::kMaxTileVectors} * kernels.lanes;

  std::int64_t tallest = kRowBlock, width = product.panel_width;
  if (product.packs_a) {
    tallest = kLeftBytes / (chain_length(k) * kSize<T>) / kernels.lanes * kernels.lanes;
    width = n;
  } else if (!product.packs_b) {
    width = threads == 1 ? n : divide_up(divide_up(n, threads), width) * width;
  }
  const std::int64_t blocks = std::max(m <= tallest ? 1 : divide_up(m, tallest),
                                       threads == 1 ? 1 : divide_up(threads, divide_up(n, width)));
  const std::int64_t height = blocks == 1 ? m : divide_up(m, blocks);
  for_each_block(m, height, n, width, threads,
                 [&](Extent rows, Extent columns, int worker) { product.run_task(rows, columns, worker); });
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
    MatmulOptions<T> transposed = options;
    transposed.finite_b = false;
    return matmul<T>(b.transposed(), a.transposed(), c.transposed(), transposed, scratch);
  }
  if (!matmul_sparse<T>(a, b, c, options, scratch)) matmul_dense<T>(a, b, c, options, scratch);
}

template <class T>
void matmul_block(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, const MatmulOptions<T>& options,
                  Extent rows, Extent columns, Scratch scratch) {
  a = a.row_range(rows.first, rows.count);
  b = b.column_range(columns.first, columns.count);
  c = c.row_range(rows.first, rows.count).column_range(columns.first, columns.count);
  MatmulOptions<T> part = options;
  if (options.bias != nullptr) part.bias = options.bias + columns.first;
  const auto epilogue = [&](Matrix<T> tile, std::int64_t row, std::int64_t column) {
    options.epilogue(tile, rows.first + row, columns.first + column);
  };
  if (options.epilogue) part.epilogue = epilogue;
  if (c.column_stride != 1)
    matmul_dense<T>(b.transposed(), a.transposed(), c.transposed(), part, scratch);
  else
    matmul_dense<T>(a, b, c, part, scratch);
}

#define NNCORE_INSTANTIATE(T)                                                                             \
  template void matmul<T>(Matrix<const T>, Matrix<const T>, Matrix<T>, const MatmulOptions<T>&, Scratch); \
  template void matmul_block<T>(Matrix<const T>, Matrix<const T>, Matrix<T>, const MatmulOptions<T>&,     \
                                Extent, Extent, Scratch);
NNCORE_INSTANTIATE(float)
NNCORE_INSTANTIATE(double)
#undef NNCORE_INSTANTIATE

}  // namespace nncore
