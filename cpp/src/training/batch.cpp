#include "training/batch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>
#include <string>

#include "functions/element_checks.hpp"
#include "functions/row_checks.hpp"
#include "nncore/losses.hpp"
#include "nncore/not_finite.hpp"

namespace nncore {
namespace {

std::string numbered(const char* what, std::size_t index, std::size_t count) {
  return count == 1 ? what : join(what, "[", index, "]");
}

/// Of a table that has no integers.
const char* numbers_in(const Table& table) { return table.type == ScalarType::boolean ? "bools" : "floats"; }

void check_rows(const std::string& argument, const Table& table, const Batch& batch) {
  if (batch.rows == nullptr) {
    const std::int64_t end = batch.first + batch.count;
    if (batch.first < 0 || batch.count < 0 || end > table.rows)
      throw invalid(argument, " has ", table.rows, " rows; rows ", batch.first, " to ", end,
                    " are asked for");
    return;
  }
  const auto is_outside = [&table](std::int64_t row) { return row < 0 || row >= table.rows; };
  if (const std::int64_t i = find_if_any(batch.rows, batch.count, is_outside); i < batch.count)
    throw invalid("rows[", i, "] is ", batch.rows[i], "; ", argument, " has rows 0 to ", table.rows - 1);
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

void check_target(const std::string& argument, const Objective::Term& term, const Table& target,
                  const Batch& batch) {
  check_rows(argument, target, batch);
  if (holds_labels(term, target)) {
    const auto is_bad = [&term](std::int64_t label) { return label < 0 || label >= term.features; };
    const auto refuse = [&](std::int64_t row, std::int64_t, std::int64_t label) {
      throw invalid(argument, " has label ", label, " in row ", row_of(batch, row), "; allowed are 0 to ",
                    term.features - 1);
    };
    return check_elements<std::int64_t>(target, batch.rows, batch.first, batch.count, is_bad, refuse);
  }
  const bool takes_labels = entry_of(term.loss.kind).takes_labels;
  if (target.columns != term.target_features) {
    const std::string needed = join("(", target.rows, ", ", term.target_features, ")");
    if (takes_labels && target.columns == 1)
      throw invalid(argument, " has one column, of ", numbers_in(target),
                    "; class indices must be of an integer dtype, probabilities of shape ", needed);
    throw invalid(argument, " has shape ", shape_text(target), "; expected ", needed,
                  takes_labels ? ", or one column of class indices" : "");
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
      throw invalid(argument, " must be of an integer dtype, as input '", node.name, "' is; got ",
                    numbers_in(batch.inputs[i]));
    if (node.integers_below == 0) continue;
    const auto is_bad = [&node](std::int64_t value) { return value < 0 || value >= node.integers_below; };
    const auto refuse = [&](std::int64_t row, std::int64_t column, std::int64_t value) {
      throw invalid(argument, " must be in [0, ", node.integers_below, "), for input '", node.name, "'; got ",
                    value, " in row ", row_of(batch, row), ", column ", column);
    };
    check_elements<std::int64_t>(batch.inputs[i], batch.rows, batch.first, batch.count, is_bad, refuse);
  }
}

void check_training_rows(const Plan& plan, std::int64_t rows) {
  if (rows > 0 && rows < plan.fewest_training_rows)
    throw invalid("a batch must have at least ", plan.fewest_training_rows,
                  " rows, of which batch_norm takes statistics; got ", rows);
}

void check_batch(const Objective& objective, const Graph& graph, const Batch& batch) {
  if (batch.inputs.size() != graph.inputs().size())
    throw invalid("x has ", batch.inputs.size(), " arrays; the graph has ", graph.inputs().size(), " inputs");
  for (std::size_t i = 0; i < batch.inputs.size(); ++i) {
    const std::string argument = numbered("x", i, batch.inputs.size());
    const Node& node = graph.node(graph.inputs()[i]);
    if (batch.inputs[i].columns != node.features)
      throw invalid(argument, " has shape ", shape_text(batch.inputs[i]), "; input '", node.name,
                    "' takes (B, ", node.features, ")");
    check_rows(argument, batch.inputs[i], batch);
  }
  check_integers(graph, batch);
  if (batch.targets.size() != objective.terms.size())
    throw invalid("y has ", batch.targets.size(), " arrays; there are ", objective.terms.size(), " losses");
  for (std::size_t i = 0; i < batch.targets.size(); ++i)
    check_target(numbered("y", i, batch.targets.size()), objective.terms[i], batch.targets[i], batch);
  if (batch.sample_weight == nullptr) return;
  if (batch.sample_weight->columns != 1) throw invalid("sample_weight must have one column");
  check_rows("sample_weight", *batch.sample_weight, batch);
  check_sample_weight(*batch.sample_weight, batch.rows, batch.first, batch.count);
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

double largest_weight(const Batch& batch) {
  if (batch.sample_weight == nullptr) return 1.0;
  double largest = 0.0;
  std::array<double, 512> block;
  for (std::int64_t start = 0; start < batch.count; start += std::ssize(block)) {
    const Batch piece = rows_of(batch, start, std::ssize(block));
    gather<double>(*batch.sample_weight, piece, block.data());
    largest = std::max(largest, *std::max_element(block.data(), block.data() + piece.count));
  }
  return largest > 0.0 ? largest : 1.0;
}

}  // namespace nncore
