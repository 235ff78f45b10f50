#include "training/batch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <sstream>
#include <string>

#include "functions/element_checks.hpp"
#include "functions/row_checks.hpp"
#include "nncore/losses.hpp"
#include "nncore/not_finite.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

/// What a table without integers holds, for messages.
const char* numbers_in(const Table& table) { return table.type == ScalarType::boolean ? "bools" : "floats"; }

void check_rows(Numbered argument, const Table& table, const Batch& batch) {
  if (table.data == nullptr && table.rows > 0)
    throw invalid(argument.text(), " must have data for ", table.rows, " rows; got none");
  if (batch.rows == nullptr) {
    const bool is_inside = batch.first >= 0 && batch.count >= 0 && batch.first <= table.rows &&
                           batch.count <= table.rows - batch.first;
    if (!is_inside)
      throw invalid(argument.text(), " must contain the ", batch.count, " rows from row ", batch.first,
                    " on; got ", table.rows, " rows");
    return;
  }
  const auto is_outside = [&table](std::int64_t row) { return row < 0 || row >= table.rows; };
  if (const std::int64_t i = find_if_any(batch.rows, batch.count, is_outside); i < batch.count)
    throw invalid("rows[", i, "] must be in [0, ", table.rows, "), the rows of ", argument.text(), "; got ",
                  batch.rows[i]);
}

/// Calls check(run) for every run of consecutive samples of a batch that have a nonzero weight in at least
/// one column; for the whole batch if there are no columns.
template <class Check>
void for_weighted_runs(std::span<const Table> weights, const Batch& batch, Check check) {
  if (weights.empty()) return check(batch);
  std::array<double, 512> block;
  std::array<bool, 512> counts;
  std::int64_t begin = 0;  // of the run
  const auto end_run = [&](std::int64_t end) {
    if (begin < end) check(rows_of(batch, begin, end - begin));
    begin = end + 1;
  };
  for (std::int64_t start = 0; start < batch.count; start += std::ssize(block)) {
    const Batch piece = rows_of(batch, start, std::ssize(block));
    counts.fill(false);
    for (const Table& weight : weights) {
      gather<double>(weight, piece, block.data());
      for (std::size_t i = 0; i < static_cast<std::size_t>(piece.count); ++i) counts[i] |= block[i] != 0.0;
    }
    for (std::int64_t i = 0; i < piece.count; ++i)
      if (!counts[static_cast<std::size_t>(i)]) end_run(start + i);
  }
  end_run(batch.count);
}

/// The weights of one term.
std::span<const Table> weights_of(const Batch& batch, std::size_t term) {
  return batch.sample_weights.size() > 1 ? batch.sample_weights.subspan(term, 1) : batch.sample_weights;
}

/// At least one number in all columns must be positive.
void check_weights(const Objective& objective, const Batch& batch) {
  const std::size_t columns = batch.sample_weights.size();
  if (columns > 1 && columns != objective.terms.size())
    throw invalid("sample_weight must be one column, or one for each of ", objective.terms.size(),
                  " losses; got ", columns, " columns");
  bool is_any_positive = columns == 0;
  for (std::size_t i = 0; i < columns; ++i) {
    const Numbered argument{"sample_weight", i, columns};
    const Table& weight = batch.sample_weights[i];
    if (weight.columns != 1)
      throw invalid(argument.text(), " must have one column; got ", shape_text(weight));
    check_rows(argument, weight, batch);
    is_any_positive |=
        check_sample_weight(argument.text().c_str(), weight, batch.rows, batch.first, batch.count);
  }
  if (!is_any_positive)
    throw invalid("sample_weight must be positive for at least one sample; got 0 for all");
}

[[noreturn]] void refuse_input(const std::string& argument, const Table& table, std::int64_t row,
                               std::int64_t column, bool is_float32) {
  double value = 0.0;
  gather_rows<double>(table.column_range(column, 1), &row, 1, &value);
  std::ostringstream message;
  message << argument << " must be finite" << (std::isfinite(value) && is_float32 ? " in float32" : "")
          << "; got " << value << " in row " << row << ", column " << column;
  throw NotFinite(message.str());
}

/// The first row of a column of floats that is NaN, as a missing label is; -1: none.
std::int64_t row_of_nan(const Table& column) {
  for (std::int64_t row = 0; row < column.rows; ++row) {
    double value = 0.0;
    gather_rows<double>(column, &row, 1, &value);
    if (std::isnan(value)) return row;
  }
  return -1;
}

void check_target_shape(Numbered argument, const Objective::Term& term, const Table& target) {
  if (holds_labels(term, target) || target.columns == term.target_features) return;
  const bool takes_labels = entry_of(term.loss.kind).takes_labels;
  const std::string wanted = join("(", target.rows, ", ", term.target_features, ")");
  if (!takes_labels || target.columns != 1)
    throw invalid(argument.text(), " must have shape ", wanted,
                  takes_labels ? ", or be one column of class indices" : "", "; got ", shape_text(target));
  const std::int64_t row = row_of_nan(target);
  throw invalid(argument.text(), " must be class indices of an integer dtype, or probabilities of shape ",
                wanted, "; got one column of ", numbers_in(target),
                row < 0 ? "" : join(", with nan in row ", row));
}

void check_target(Numbered numbered, const Objective::Term& term, const Table& target, const Batch& batch) {
  const std::string argument = numbered.text();
  if (holds_labels(term, target)) {
    const auto is_bad = [&term](std::int64_t label) { return label < 0 || label >= term.features; };
    const auto refuse = [&](std::int64_t row, std::int64_t, std::int64_t label) {
      throw invalid(argument, " must hold labels from 0 to ", term.features - 1, "; got label ", label,
                    " in row ", row_of(batch, row));
    };
    return check_elements<std::int64_t>(target, batch.rows, batch.first, batch.count, is_bad, refuse);
  }
  check_target_values(term.loss.kind, argument.c_str(), target, batch.rows, batch.first, batch.count);
}

void check_shapes(const Graph& graph, const Batch& batch) {
  if (batch.inputs.size() != graph.inputs().size())
    throw invalid("x must hold ", graph.inputs().size(), " arrays, one for each input of the graph; got ",
                  batch.inputs.size());
  for (std::size_t i = 0; i < batch.inputs.size(); ++i) {
    const Numbered argument{"x", i, batch.inputs.size()};
    const Node& node = graph.node(graph.inputs()[i]);
    if (batch.inputs[i].columns != node.features)
      throw invalid(argument.text(), " must have shape (B, ", node.features, ") for input '", node.name,
                    "'; got ", shape_text(batch.inputs[i]));
    check_rows(argument, batch.inputs[i], batch);
  }
}

void check_integers(const Graph& graph, const Batch& batch) {
  for (std::size_t i = 0; i < batch.inputs.size(); ++i) {
    const Node& node = graph.node(graph.inputs()[i]);
    if (!node.is_integer) continue;
    const std::string argument = Numbered{"x", i, batch.inputs.size()}.text();
    if (!is_integer(batch.inputs[i].type))
      throw invalid(argument, " must be of an integer dtype for input '", node.name, "'; got ",
                    numbers_in(batch.inputs[i]));
    if (node.integers_below == 0) continue;
    const auto is_bad = [&node](std::int64_t value) { return value < 0 || value >= node.integers_below; };
    const auto refuse = [&](std::int64_t row, std::int64_t column, std::int64_t value) {
      throw invalid(argument, " must be in [0, ", node.integers_below, ") for input '", node.name, "'; got ",
                    value, " in row ", row_of(batch, row), ", column ", column);
    };
    check_elements<std::int64_t>(batch.inputs[i], batch.rows, batch.first, batch.count, is_bad, refuse);
  }
}

}  // namespace

std::string Numbered::text() const { return count == 1 ? what : join(what, "[", index, "]"); }

void check_still_below(Numbered argument, const std::int64_t* indices, std::int64_t count,
                       std::int64_t below) {
  const auto is_outside = [below](std::int64_t index) { return index < 0 || index >= below; };
  if (const std::int64_t i = find_if_any(indices, count, is_outside); i < count)
    throw invalid(argument.text(), " must not change while a call reads it; got an index that is now ",
                  indices[i], " and not in [0, ", below, ")");
}

void check_tables(const Graph& graph, const Batch& batch) {
  check_shapes(graph, batch);
  check_integers(graph, batch);
}

void check_training_rows(const Plan& plan, std::int64_t rows) {
  if (rows > 0 && rows < plan.fewest_training_rows)
    throw invalid("a batch must have at least ", plan.fewest_training_rows,
                  " rows, because batch_norm needs their statistics; got ", rows);
}

void check_batch(const Objective& objective, const Graph& graph, const Batch& batch) {
  check_shapes(graph, batch);
  check_weights(objective, batch);
  for_weighted_runs(batch.sample_weights, batch, [&](const Batch& run) { check_integers(graph, run); });
  if (batch.targets.size() != objective.terms.size())
    throw invalid("y must hold ", objective.terms.size(), " arrays, one for each loss; got ",
                  batch.targets.size());
  for (std::size_t i = 0; i < batch.targets.size(); ++i) {
    const Numbered argument{"y", i, batch.targets.size()};
    check_target_shape(argument, objective.terms[i], batch.targets[i]);
    check_rows(argument, batch.targets[i], batch);
    for_weighted_runs(weights_of(batch, i), batch, [&](const Batch& run) {
      check_target(argument, objective.terms[i], batch.targets[i], run);
    });
  }
}

Batch taking_part(const Batch& batch, std::vector<std::int64_t>& rows) {
  if (batch.sample_weights.empty()) return batch;
  rows.clear();
  for_weighted_runs(batch.sample_weights, batch, [&](const Batch& run) {
    for (std::int64_t i = 0; i < run.count; ++i) rows.push_back(row_of(run, i));
  });
  if (std::ssize(rows) == batch.count) return batch;
  Batch part = batch;
  part.rows = rows.data();
  part.first = 0;
  part.count = std::ssize(rows);
  return part;
}

template <class T>
void check_inputs(const Graph& graph, const Batch& batch) {
  for (std::size_t i = 0; i < batch.inputs.size(); ++i) {
    const Table& table = batch.inputs[i];
    if (graph.node(graph.inputs()[i]).is_integer || !is_floating(table.type)) continue;
    const auto is_bad = [](T value) { return !std::isfinite(value); };
    const auto refuse = [&](std::int64_t row, std::int64_t column, T) {
      refuse_input(Numbered{"x", i, batch.inputs.size()}.text(), table, row_of(batch, row), column,
                   scalar_type<T>() == ScalarType::float32);
    };
    check_elements<T>(table, batch.rows, batch.first, batch.count, is_bad, refuse);
  }
}

template void check_inputs<float>(const Graph&, const Batch&);
template void check_inputs<double>(const Graph&, const Batch&);

std::vector<double> largest_weights(const Batch& batch) {
  std::vector<double> all;
  for (const Table& weight : batch.sample_weights) {
    double largest = 0.0;
    std::array<double, 512> block;
    for (std::int64_t start = 0; start < batch.count; start += std::ssize(block)) {
      if (start > 0) check_interrupt();
      const Batch piece = rows_of(batch, start, std::ssize(block));
      gather<double>(weight, piece, block.data());
      largest = std::max(largest, *std::max_element(block.data(), block.data() + piece.count));
    }
    all.push_back(largest > 0.0 ? largest : 1.0);
  }
  return all;
}

}  // namespace nncore
