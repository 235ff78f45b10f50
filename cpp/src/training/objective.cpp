#include "training/objective.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "functions/join.hpp"
#include "graph/arena.hpp"
#include "nncore/operation.hpp"
#include "training/batch.hpp"

namespace nncore {
namespace {

bool ends_in(const Node& node, const Activation& activation) {
  return node.operation != nullptr && node.operation->activation() == activation;
}

Objective::Term plan_term(const Graph& graph, const LossTerm& term) {
  if (term.output < 0 || static_cast<std::size_t>(term.output) >= graph.outputs().size())
    throw invalid("loss on output ", term.output, " of a graph with ", graph.outputs().size());
  if (!std::isfinite(term.weight)) throw std::invalid_argument("the weight of a loss must be finite");
  const int node = graph.outputs()[static_cast<std::size_t>(term.output)];
  const Node& output = graph.node(node);
  const LossEntry& entry = entry_of(term.loss.kind);
  const std::int64_t target_features = target_width(term.loss, join("output '", output.name, "'").c_str(),
                                                    output.features, entry.least_outputs);
  validate(term.loss, target_features);
  Objective::Term planned{term.loss, node, output.features, target_features, term.weight};
  if (entry.fused) {
    const char* const activation = entry_of(entry.fused->activation.kind).name;
    if (!ends_in(output, entry.fused->activation))
      throw invalid("'", entry.name, "' takes probabilities, but output '", output.name,
                    "' does not end in '", activation, "': end the model in it, or use '",
                    entry_of(entry.fused->from_logits).name, "' on logits");
    planned.loss.kind = entry.fused->from_logits;
    planned.node = output.inputs[0];
    return planned;
  }
  if (takes_logits(term.loss.kind)) {
    for (const LossEntry& other : kLosses) {
      if (!other.fused || !ends_in(output, other.fused->activation)) continue;
      throw invalid("'", entry.name, "' takes logits, but output '", output.name, "' ends in '",
                    entry_of(other.fused->activation.kind).name, "': use '", other.name,
                    "' (computed from logits all the same)");
    }
  }
  return planned;
}

/// Weights over the largest of them, and their sum in batch.weight_unit.
template <class T>
double gather_weights(const Batch& batch, double* given, T* relative) {
  gather<double>(*batch.sample_weight, batch, given);
  const double largest = batch.count > 0 ? *std::max_element(given, given + batch.count) : 0.0;
  double sum = 0.0;
  for (std::int64_t i = 0; i < batch.count; ++i) {
    const double weight = largest > 0.0 ? given[i] / largest : 0.0;
    relative[i] = static_cast<T>(weight);
    sum += weight;
  }
  // Not 0 unless all weights are, however small the unit of the others makes them.
  return largest > 0.0 ? std::max(sum * (largest / batch.weight_unit), std::numeric_limits<double>::min())
                       : 0.0;
}

}  // namespace

std::shared_ptr<const Objective> make_objective(const Graph& graph, std::span<const LossTerm> terms) {
  if (terms.empty()) throw std::invalid_argument("there is no loss to train with");
  auto objective = std::make_shared<Objective>();
  std::vector<int> sinks;
  for (const LossTerm& term : terms) {
    objective->terms.push_back(plan_term(graph, term));
    sinks.push_back(objective->terms.back().node);
    objective->target_features.push_back(objective->terms.back().target_features);
  }
  objective->plan = make_plan(graph, sinks);
  return objective;
}

bool holds_labels(const Objective::Term& term, const Table& target) {
  return entry_of(term.loss.kind).takes_labels && target.columns == 1 && is_integer(target.type);
}

template <class T>
WeightedLoss run_losses(const Objective& objective, const Batch& batch, bool gradients, Arena<T>& arena) {
  WeightedLoss result{0.0, static_cast<double>(batch.count)};
  T* sample_weight = nullptr;
  if (batch.sample_weight != nullptr) {
    sample_weight = arena.sample_weight;
    result.weight = gather_weights(batch, arena.user_weight, sample_weight);
  }
  for (std::size_t i = 0; i < objective.terms.size(); ++i) {
    const Objective::Term& term = objective.terms[i];
    const Table& table = batch.targets[i];
    Target<T> target;
    if (holds_labels(term, table)) {
      gather<std::int64_t>(table, batch, arena.labels[i]);
      target.labels = arena.labels[i];
    } else {
      gather<T>(table, batch, arena.targets[i].data);
      target.values = arena.targets[i];
    }
    const auto node = static_cast<std::size_t>(term.node);
    result.loss += loss_and_gradient<T>(term.loss, arena.values[node], target, sample_weight, Reduction::mean,
                                        nullptr, gradients ? arena.gradients[node] : Matrix<T>{}, term.weight,
                                        objective.plan.accumulate_sink[i] != 0);
  }
  return result;
}

template WeightedLoss run_losses<float>(const Objective&, const Batch&, bool, Arena<float>&);
template WeightedLoss run_losses<double>(const Objective&, const Batch&, bool, Arena<double>&);

}  // namespace nncore
