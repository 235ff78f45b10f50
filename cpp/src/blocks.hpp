// The result of a product, cut into blocks that are shared out among threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "nncore/runtime.hpp"

namespace nncore {

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Rows or columns first .. first + count.
struct Range {
  std::int64_t first, count;
};

/// run(rows, columns, worker) for blocks of the result: here, or shared out among `threads`.
template <class Run>
void for_each_block(std::int64_t rows, std::int64_t height, std::int64_t columns, std::int64_t width,
                    int threads, Run run) {
  if (rows <= height && columns <= width) return run(Range{0, rows}, Range{0, columns}, 0);
  const std::int64_t across = divide_up(columns, width);
  const std::int64_t tasks = across * divide_up(rows, height);
  const auto run_tasks = [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t row = task / across * height, column = task % across * width;
      run(Range{row, std::min(height, rows - row)}, Range{column, std::min(width, columns - column)}, worker);
    }
  };
  if (threads == 1)
    run_tasks(0, tasks, 0);
  else
    parallel_for(tasks, 1, run_tasks, threads);
}

}  // namespace nncore
