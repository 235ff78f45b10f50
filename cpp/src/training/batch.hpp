// Batches: which rows of the user's tables a call works on, and the checks of these rows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "nncore/dataset.hpp"
#include "nncore/graph.hpp"
#include "nncore/network.hpp"
#include "training/objective.hpp"

namespace nncore {

/// The row of the tables that is row `index` of the batch.
inline std::int64_t row_of(const Batch& batch, std::int64_t index) {
  return batch.rows != nullptr ? batch.rows[index] : batch.first + index;
}

/// At most `count` rows of a batch, from `start` on.
inline Batch rows_of(Batch batch, std::int64_t start, std::int64_t count) {
  start = std::min(start, batch.count);
  if (batch.rows != nullptr) batch.rows += start;
  batch.first += start;
  batch.count = std::min(count, batch.count - start);
  return batch;
}

/// gather_rows for a batch's row selection.
template <class To>
void gather(const Table& table, const Batch& batch, To* out) {
  const Table from = batch.rows == nullptr ? table.row_range(batch.first, batch.count) : table;
  gather_rows<To>(from, batch.rows, batch.count, out);
}

/// The table's own memory, if its layout is that of a gathered table; else null.
template <class T>
const T* as_gathered(const Table& table) {
  const auto size = static_cast<std::int64_t>(sizeof(T));
  const bool same = table.type == scalar_type<T>() && (table.columns == 1 || table.column_stride == size) &&
                    (table.row_stride == table.columns * size || table.rows == 1) &&
                    reinterpret_cast<std::uintptr_t>(table.data) % alignof(T) == 0;
  return same ? static_cast<const T*>(table.data) : nullptr;
}

/// The samples of a batch that have weight in at least one loss; if some have none, as a selection in `rows`.
Batch taking_part(const Batch& batch, std::vector<std::int64_t>& rows);

/// See Network::check_batch.
void check_batch(const Objective& objective, const Graph& graph, const Batch& batch);

/// The name of an argument: "x", or "x[1]" where there are several.
struct Numbered {
  const char* what;
  std::size_t index, count;
  std::string text() const;
};

/// Throws std::invalid_argument, naming the row, if the inputs do not fit the graph, lack rows of the batch,
/// or hold an integer out of range.
void check_tables(const Graph& graph, const Batch& batch);

/// Throws std::invalid_argument unless all indices are in [0, below). They were checked before they were
/// gathered, so another thread must have changed their source.
void check_still_below(Numbered argument, const std::int64_t* indices, std::int64_t count,
                       std::int64_t below);

/// Throws std::invalid_argument if a batch has fewer rows than training `plan` needs.
void check_training_rows(const Plan& plan, std::int64_t rows);

/// See Network::check_inputs.
template <class T>
void check_inputs(const Graph& graph, const Batch& batch);

/// The largest number in each column of sample weights; 1 if all are 0.
std::vector<double> largest_weights(const Batch& batch);

}  // namespace nncore
