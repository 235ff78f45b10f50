// Splits rows, or the result of a product, into blocks and distributes them among threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/table.hpp"
#include "nncore/matrix.hpp"
#include "nncore/runtime.hpp"

namespace nncore {

template <class T>
constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));

/// Elements per cache line.
template <class T>
constexpr std::int64_t kLine = 64 / kSize<T>;

/// Rows per call of the epilogue: few enough to still be in the cache, and enough to pay for the call.
inline constexpr std::int64_t kEpilogueRows = 40;

/// A product of fewer operations stays on the calling thread; in a larger one, each thread has at least half
/// as many.
inline constexpr std::int64_t kOneThreadFlops = 800'000;

/// Up to this many blocks run on the calling thread without an interrupt check.
inline constexpr std::int64_t kFewTasks = 4;

/// Whether a block of a product takes so long that it checks for interrupts in its middle. Fewer than kNarrow
/// rows or columns count as kNarrow, because reading dominates: each step of the depth reads a cache line.
constexpr bool is_long_block(std::int64_t rows, std::int64_t columns, std::int64_t depth) {
  constexpr std::int64_t kNarrow = 8;
  constexpr double kLong = 5e7;  // multiplications
  return static_cast<double>(std::max(rows, kNarrow)) * static_cast<double>(std::max(columns, kNarrow)) *
             static_cast<double>(depth) >
         kLong;
}

/// The number of threads for a product (M, K) (K, N), at most `workers`.
inline int threads_for(std::int64_t m, std::int64_t n, std::int64_t k, int workers) {
  const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  if (flops < kOneThreadFlops) return 1;
  const double most = std::min(usable_threads(), workers);
  return static_cast<int>(std::min(flops / (kOneThreadFlops / 2), most));
}

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Rows or columns [first, first + count).
struct Extent {
  std::int64_t first, count;
};

/// A matrix from one of its elements on, in the form that kernels take; null if it has no data.
template <class T>
kernels::Rows<T> rows_at(Matrix<T> m, std::int64_t row, std::int64_t column = 0) {
  return {m.data != nullptr ? &m(row, column) : nullptr, m.row_stride};
}

/// Calls run(first, count) for blocks of rows; on several threads if there are more than about `grain`
/// elements.
template <class Run>
void for_rows(std::int64_t rows, std::int64_t columns, std::int64_t grain, Run run) {
  parallel_for(rows, std::max<std::int64_t>(1, grain / columns),
               [&](std::int64_t begin, std::int64_t end, int) { run(begin, end - begin); });
}

/// Calls run(rows, columns, worker) for each block of the result, on at most `threads` threads.
template <class Run>
void for_each_block(std::int64_t rows, std::int64_t height, std::int64_t columns, std::int64_t width,
                    int threads, Run run) {
  if (rows <= height && columns <= width) return run(Extent{0, rows}, Extent{0, columns}, 0);
  const std::int64_t across = divide_up(columns, width);
  const std::int64_t tasks = across * divide_up(rows, height);
  const auto run_tasks = [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t row = task / across * height, column = task % across * width;
      run(Extent{row, std::min(height, rows - row)}, Extent{column, std::min(width, columns - column)},
          worker);
    }
  };
  if (threads == 1 && tasks <= kFewTasks)
    run_tasks(0, tasks, 0);
  else
    parallel_for(tasks, 1, run_tasks, threads);
}

}  // namespace nncore
