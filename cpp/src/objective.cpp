#include "objective.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>

#include "nncore/operation.hpp"

namespace nncore {
namespace {

/// A loss on probabilities, the activation that must make them, and the same loss from logits.
struct FusedForm {
  Loss loss;
  Activation activation;
  Loss from_logits;
};
constexpr FusedForm kFusedForms[] = {
    {Loss::cross_entropy, Activation::softmax, Loss::softmax_cross_entropy},
    {Loss::binary_cross_entropy, Activation::sigmoid, Loss::sigmoid_cross_entropy},
};

std::string quoted(const char* text) { return std::string("'") + text + "'"; }

bool ends_in(const Node& node, Activation activation) {
  return node.operation != nullptr && node.operation->activation() == activation;
}

Objective::Term plan_term(const Graph& graph, const LossTerm& term) {
  if (term.output < 0 || static_cast<std::size_t>(term.output) >= graph.outputs().size()) {
    throw std::invalid_argument("loss on output " + std::to_string(term.output) + " of a graph with " +
                                std::to_string(graph.outputs().size()));
  }
  if (!std::isfinite(term.weight)) throw std::invalid_argument("the weight of a loss must be finite");
  const int node = graph.outputs()[static_cast<std::size_t>(term.output)];
  const Node& output = graph.node(node);
  for (const FusedForm& form : kFusedForms) {
    if (term.loss == form.loss) {
      if (ends_in(output, form.activation))
        return {form.from_logits, output.inputs[0], output.features, term.weight};
      throw std::invalid_argument(quoted(name(term.loss)) + " takes probabilities, but output '" +
                                  output.name + "' does not end in " + quoted(name(form.activation)) +
                                  ": end the model in it, or use " + quoted(name(form.from_logits)) +
                                  " on logits");
    }
  }
  for (const FusedForm& form : kFusedForms) {
    const bool takes_logits =
        term.loss == Loss::softmax_cross_entropy || term.loss == Loss::sigmoid_cross_entropy;
    if (takes_logits && ends_in(output, form.activation)) {
      throw std::invalid_argument(quoted(name(term.loss)) + " takes logits, but output '" + output.name +
                                  "' ends in " + quoted(name(form.activation)) + ": use " +
                                  quoted(name(form.loss)) + " (computed from logits all the same)");
    }
  }
  return {term.loss, node, output.features, term.weight};
}

std::string numbered(const char* what, std::size_t index, std::size_t count) {
  return count == 1 ? what : std::string(what) + "[" + std::to_string(index) + "]";
}

std::string shape(const Table& table) {
  return "(" + std::to_string(table.rows) + ", " + std::to_string(table.columns) + ")";
}

/// std::find_if for what is rarely there: whether it is, is a loop without branches.
template <class V, class IsBad>
std::int64_t find_if_any(const V* values, std::int64_t count, IsBad is_bad) {
  bool any = false;
  for (std::int64_t i = 0; i < count; ++i) any |= is_bad(values[i]);
  return any ? std::find_if(values, values + count, is_bad) - values : count;
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

std::int64_t row_of(const Batch& batch, std::int64_t index) {
  return batch.rows != nullptr ? batch.rows[index] : batch.first + index;
}

/// gather_rows for a batch's row selection.
template <class To>
void gather(const Table& table, const Batch& batch, To* out) {
  const Table from = batch.rows == nullptr ? table.row_range(batch.first, batch.count) : table;
  gather_rows<To>(from, batch.rows, batch.count, out);
}

/// refuse(row in the batch, column, value) for the first element of the selection, converted to To, that
/// is_bad.
template <class To, class IsBad, class Refuse>
void check_elements(const Table& table, const Batch& batch, IsBad is_bad, Refuse refuse) {
  std::array<To, 512> block;
  const std::int64_t columns = std::min<std::int64_t>(table.columns, block.size());
  const std::int64_t rows = columns > 0 ? static_cast<std::int64_t>(block.size()) / columns : 0;
  for (std::int64_t column = 0; column < table.columns; column += columns) {
    const Table part = table.column_range(column, std::min(columns, table.columns - column));
    for (std::int64_t row = 0; row < batch.count; row += rows) {
      Batch piece;
      piece.rows = batch.rows != nullptr ? batch.rows + row : nullptr;
      piece.first = batch.first + row;
      piece.count = std::min(rows, batch.count - row);
      gather<To>(part, piece, block.data());
      const std::int64_t count = piece.count * part.columns;
      if (const std::int64_t i = find_if_any(block.data(), count, is_bad); i < count) {
        refuse(row + i / part.columns, column + i % part.columns, block[static_cast<std::size_t>(i)]);
      }
    }
  }
}

void check_target(const std::string& argument, const Objective::Term& term, const Table& target,
                  const Batch& batch) {
  check_rows(argument, target, batch);
  if (holds_labels(term, target)) {
    const auto is_bad = [&term](std::int64_t label) { return label < 0 || label >= term.features; };
    check_elements<std::int64_t>(
        target, batch, is_bad, [&](std::int64_t row, std::int64_t, std::int64_t label) {
          throw std::invalid_argument(argument + " has label " + std::to_string(label) + " in row " +
                                      std::to_string(row_of(batch, row)) + "; allowed are 0 to " +
                                      std::to_string(term.features - 1));
        });
    return;
  }
  if (target.columns != term.features) {
    if (takes_labels(term.loss) && target.columns == 1) {
      throw std::invalid_argument(argument + " has one column, of " +
                                  (target.type == ScalarType::boolean ? "bools" : "floats") +
                                  "; class indices must be of an integer dtype, probabilities of shape (" +
                                  std::to_string(target.rows) + ", " + std::to_string(term.features) + ")");
    }
    throw std::invalid_argument(argument + " has shape " + shape(target) + "; expected (" +
                                std::to_string(target.rows) + ", " + std::to_string(term.features) + ")" +
                                (takes_labels(term.loss) ? ", or one column of class indices" : ""));
  }
  if (target.type == ScalarType::boolean) return;
  const auto refuse = [&](std::int64_t row, std::int64_t column, double value) {
    const std::string place =
        " in row " + std::to_string(row_of(batch, row)) + ", column " + std::to_string(column);
    if (std::isnan(value)) throw std::invalid_argument(argument + " is NaN" + place);
    throw std::invalid_argument(argument + " is " + std::to_string(value) + place +
                                "; binary cross-entropy takes numbers in [0, 1]");
  };
  if (term.loss == Loss::sigmoid_cross_entropy) {
    check_elements<double>(
        target, batch, [](double value) { return !(value >= 0.0 && value <= 1.0); }, refuse);
  } else if (!is_integer(target.type)) {
    check_elements<double>(target, batch, [](double value) { return std::isnan(value); }, refuse);
  }
}

}  // namespace

std::shared_ptr<const Objective> make_objective(const Graph& graph, std::span<const LossTerm> terms) {
  if (terms.empty()) throw std::invalid_argument("there is no loss to train with");
  auto objective = std::make_shared<Objective>();
  std::vector<int> sinks;
  for (const LossTerm& term : terms) {
    objective->terms.push_back(plan_term(graph, term));
    sinks.push_back(objective->terms.back().node);
  }
  objective->plan = make_plan(graph, sinks);
  return objective;
}

bool holds_labels(const Objective::Term& term, const Table& target) {
  return takes_labels(term.loss) && target.columns == 1 && is_integer(target.type);
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
    if (node.is_integer && !is_integer(batch.inputs[i].type)) {
      throw std::invalid_argument(argument + " holds floats; input '" + node.name + "' takes integers");
    }
    check_rows(argument, batch.inputs[i], batch);
  }
  if (batch.targets.size() != objective.terms.size()) {
    throw std::invalid_argument("y has " + std::to_string(batch.targets.size()) + " arrays; there are " +
                                std::to_string(objective.terms.size()) + " losses");
  }
  for (std::size_t i = 0; i < batch.targets.size(); ++i) {
    check_target(numbered("y", i, batch.targets.size()), objective.terms[i], batch.targets[i], batch);
  }
  if (batch.sample_weight == nullptr) return;
  if (batch.sample_weight->columns != 1) throw std::invalid_argument("sample_weight must have one column");
  check_rows("sample_weight", *batch.sample_weight, batch);
  check_sample_weight(*batch.sample_weight, batch.rows, batch.first, batch.count);
}

template <class T>
WeightedLoss run_losses(const Objective& objective, const Batch& batch, bool gradients,
                        Workspace<T>& workspace) {
  WeightedLoss result{0.0, static_cast<double>(batch.count)};
  T* sample_weight = nullptr;
  if (batch.sample_weight != nullptr) {
    sample_weight = workspace.sample_weight;
    gather<T>(*batch.sample_weight, batch, sample_weight);
    result.weight = 0.0;
    for (std::int64_t i = 0; i < batch.count; ++i) result.weight += static_cast<double>(sample_weight[i]);
  }
  for (std::size_t i = 0; i < objective.terms.size(); ++i) {
    const Objective::Term& term = objective.terms[i];
    const Table& table = batch.targets[i];
    Target<T> target;
    if (holds_labels(term, table)) {
      gather<std::int64_t>(table, batch, workspace.labels[i]);
      target.labels = workspace.labels[i];
    } else {
      gather<T>(table, batch, workspace.targets[i].data);
      target.values = workspace.targets[i];
    }
    const auto node = static_cast<std::size_t>(term.node);
    result.loss +=
        loss_and_gradient<T>(term.loss, workspace.values[node], target, sample_weight, Reduction::mean,
                             nullptr, gradients ? workspace.gradients[node] : Matrix<T>{}, term.weight,
                             objective.plan.accumulate_sink[i] != 0);
  }
  return result;
}

template WeightedLoss run_losses<float>(const Objective&, const Batch&, bool, Workspace<float>&);
template WeightedLoss run_losses<double>(const Objective&, const Batch&, bool, Workspace<double>&);

}  // namespace nncore
