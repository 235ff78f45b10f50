#include "training/batch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>

#include "functions/element_checks.hpp"
#include "nncore/losses.hpp"
#include "nncore/not_finite.hpp"

namespace nncore {
namespace {

std::string numbered(const char* what, std::size_t index, std::size_t count) {
  return count == 1 ? what : std::string(what) + "[" + std::to_string(index) + "]";
}

std::string shape(const Table& table) {
  return "(" + std::to_string(table.rows) + ", " + std::to_string(table.columns) + ")";
}

void check_rows(const std::string& argument, const Table& table, const Batch& batch) {
  if (batch.rows == nullptr) {
    if (batch.first < 0 || batch.count < 0 || batch.first + batch.count > table.rows) {
      throw std::invalid_argument(argument + " has " + std::to_string(table.rows) + " rows; rows " +
                                  std::to_string(batch.first) + " to " +
                                  std::to_string(batch.first + batch.count) + " are asked for");
    }
    return;
  }
  const auto is_outside = [&table](std::int64_t row) { return row < 0 || row >= table.rows; };
  if (const std::int64_t i = find_if_any(batch.rows, batch.count, is_outside); i < batch.count) {
    throw std::invalid_argument("rows[" + std::to_string(i) + "] is " + std::to_string(batch.rows[i]) + "; " +
                                argument + " has rows 0 to " + std::to_string(table.rows - 1));
  }
}

/// check(run) for every run of consecutive samples of a batch whose weight is not 0 in one of some columns;
/// without columns, for the batch.
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

/// Of all columns, one number at least must be positive.
void check_weights(const Objective& objective, const Batch& batch) {
  const std::size_t columns = batch.sample_weights.size();
  if (columns > 1 && columns != objective.terms.size())
    throw std::invalid_argument("sample_weight must be one column, or one for each of " +
                                std::to_string(objective.terms.size()) + " losses; got " +
                                std::to_string(columns));
  bool is_any_positive = columns == 0;
  for (std::size_t i = 0; i < columns; ++i) {
    const std::string argument = numbered("sample_weight", i, columns);
    const Table& weight = batch.sample_weights[i];
    if (weight.columns != 1)
      throw std::invalid_argument(argument + " must have one column; got " + shape(weight));
    check_rows(argument, weight, batch);
    is_any_positive |= check_sample_weight(argument.c_str(), weight, batch.rows, batch.first, batch.count);
  }
  if (!is_any_positive)
    throw std::invalid_argument("sample_weight must be positive for a sample at least; got 0 for all");
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

/// The first row of a column of floats that is NaN, as where a label is missing; -1: none.
std::int64_t row_of_nan(const Table& column) {
  for (std::int64_t row = 0; row < column.rows; ++row) {
    double value = 0.0;
    gather_rows<double>(column, &row, 1, &value);
    if (std::isnan(value)) return row;
  }
  return -1;
}

void check_target_shape(const std::string& argument, const Objective::Term& term, const Table& target) {
  if (holds_labels(term, target) || target.columns == term.target_features) return;
  const bool takes_labels = entry_of(term.loss.kind).takes_labels;
  const std::string wanted =
      "(" + std::to_string(target.rows) + ", " + std::to_string(term.target_features) + ")";
  if (!takes_labels || target.columns != 1)
    throw std::invalid_argument(argument + " must have shape " + wanted +
                                (takes_labels ? ", or be one column of class indices" : "") + "; got " +
                                shape(target));
  std::string got = target.type == ScalarType::boolean ? "bools" : "floats";
  if (const std::int64_t row = row_of_nan(target); row >= 0)
    got += ", with nan in row " + std::to_string(row);
  throw std::invalid_argument(argument +
                              " must be class indices of an integer dtype, or probabilities of shape " +
                              wanted + "; got one column of " + got);
}

void check_target(const std::string& argument, const Objective::Term& term, const Table& target,
                  const Batch& batch) {
  if (holds_labels(term, target)) {
    const auto is_bad = [&term](std::int64_t label) { return label < 0 || label >= term.features; };
    check_elements<std::int64_t>(
        target, batch.rows, batch.first, batch.count, is_bad,
        [&](std::int64_t row, std::int64_t, std::int64_t label) {
          throw std::invalid_argument(argument + " has label " + std::to_string(label) + " in row " +
                                      std::to_string(row_of(batch, row)) + "; allowed are 0 to " +
                                      std::to_string(term.features - 1));
        });
    return;
  }
  check_target_values(term.loss.kind, argument.c_str(), target, batch.rows, batch.first, batch.count);
}

}  // namespace

void check_integers(const Graph& graph, const Batch& batch) {
  for (std::size_t i = 0; i < batch.inputs.size(); ++i) {
    const Node& node = graph.node(graph.inputs()[i]);
    if (!node.is_integer) continue;
    const std::string argument = numbered("x", i, batch.inputs.size());
    if (!is_integer(batch.inputs[i].type))
      throw std::invalid_argument(argument + " must be of an integer dtype, as input '" + node.name +
                                  "' is; got " +
                                  (batch.inputs[i].type == ScalarType::boolean ? "bools" : "floats"));
    if (node.integers_below == 0) continue;
    check_elements<std::int64_t>(
        batch.inputs[i], batch.rows, batch.first, batch.count,
        [&node](std::int64_t value) { return value < 0 || value >= node.integers_below; },
        [&](std::int64_t row, std::int64_t column, std::int64_t value) {
          throw std::invalid_argument(argument + " must be in [0, " + std::to_string(node.integers_below) +
                                      "), for input '" + node.name + "'; got " + std::to_string(value) +
                                      " in row " + std::to_string(row_of(batch, row)) + ", column " +
                                      std::to_string(column));
        });
  }
}

void check_training_rows(const Plan& plan, std::int64_t rows) {
  if (rows > 0 && rows < plan.fewest_training_rows)
    throw std::invalid_argument("a batch must have at least " + std::to_string(plan.fewest_training_rows) +
                                " rows, of which batch_norm takes statistics; got " + std::to_string(rows));
}

void check_batch(const Objective& objective, const Graph& graph, const Batch& batch) {
  if (batch.inputs.size() != graph.inputs().size()) {
    throw std::invalid_argument("x has " + std::to_string(batch.inputs.size()) + " arrays; the graph has " +
                                std::to_string(graph.inputs().size()) + " inputs");
  }
  for (std::size_t i = 0; i < batch.inputs.size(); ++i) {
    const std::string argument = numbered("x", i, batch.inputs.size());
    const Node& node = graph.node(graph.inputs()[i]);
    if (batch.inputs[i].columns != node.features) {
      throw std::invalid_argument(argument + " has shape " + shape(batch.inputs[i]) + "; input '" +
                                  node.name + "' takes (B, " + std::to_string(node.features) + ")");
    }
    check_rows(argument, batch.inputs[i], batch);
  }
  check_weights(objective, batch);
  for_weighted_runs(batch.sample_weights, batch, [&](const Batch& run) { check_integers(graph, run); });
  if (batch.targets.size() != objective.terms.size()) {
    throw std::invalid_argument("y has " + std::to_string(batch.targets.size()) + " arrays; there are " +
                                std::to_string(objective.terms.size()) + " losses");
  }
  for (std::size_t i = 0; i < batch.targets.size(); ++i) {
    const std::string argument = numbered("y", i, batch.targets.size());
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
      refuse_input(numbered("x", i, batch.inputs.size()), table, row_of(batch, row), column,
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
      const Batch piece = rows_of(batch, start, std::ssize(block));
      gather<double>(weight, piece, block.data());
      largest = std::max(largest, *std::max_element(block.data(), block.data() + piece.count));
    }
    all.push_back(largest > 0.0 ? largest : 1.0);
  }
  return all;
}

}  // namespace nncore
