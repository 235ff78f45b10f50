#include "training/objective.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include "functions/join.hpp"
#include "nncore/operation.hpp"
#include "training/batch.hpp"

namespace nncore {
namespace {

/// Throws std::invalid_argument. The message says which loss fits the output, or what to do.
[[noreturn]] void refuse_loss(const Node& output, const LossEntry& loss, const std::string& takes,
                              const std::string& remedy) {
  const Operation* const operation = output.operation.get();
  const LossEntry* fits = nullptr;
  for (const LossEntry& other : kLosses)
    if (other.fused && operation != nullptr && operation->activation() == other.fused->activation)
      fits = &other;
  const std::string ending = operation == nullptr ? "an input"
                             : operation->activation()
                                 ? join("'", entry_of(operation->activation()->kind).name, "'")
                                 : join("'", operation->kind(), "'");
  throw invalid("loss must ", fits != nullptr ? join("be '", fits->name, "' for") : "fit", " output '",
                output.name, "', which ends in ", ending, "; got '", loss.name, "', which takes ", takes,
                fits != nullptr ? "" : remedy);
}

bool ends_in(const Node& node, const Activation& activation) {
  return node.operation != nullptr && node.operation->activation() == activation;
}

Objective::Term plan_term(const Graph& graph, const LossTerm& term) {
  if (term.output < 0 || static_cast<std::size_t>(term.output) >= graph.outputs().size())
    throw invalid("output of a loss must be in [0, ", graph.outputs().size(),
                  "), the outputs of the graph; got ", term.output);
  if (!std::isfinite(term.weight))
    throw invalid("weight of a loss must be finite; got ", std::to_string(term.weight));
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
      refuse_loss(output, entry, join("the probabilities that '", activation, "' computes"),
                  join(": end the model in '", activation, "', or use '",
                       entry_of(entry.fused->from_logits).name, "' on logits"));
    planned.loss.kind = entry.fused->from_logits;
    planned.node = output.inputs[0];
    return planned;
  }
  if (takes_logits(term.loss.kind)) {
    for (const LossEntry& other : kLosses)
      if (other.fused && ends_in(output, other.fused->activation)) refuse_loss(output, entry, "logits", "");
  }
  return planned;
}

/// Gathers a column of weights into `given`, and divided by the largest into `relative`. Returns their sum in
/// the column's unit.
template <class T>
double gather_weights(const Batch& batch, std::size_t column, double* given, T* relative) {
  const double unit = batch.weight_units.empty() ? 1.0 : batch.weight_units[column];
  gather<double>(batch.sample_weights[column], batch, given);
  const double largest = batch.count > 0 ? *std::max_element(given, given + batch.count) : 0.0;
  double sum = 0.0;
  for (std::int64_t i = 0; i < batch.count; ++i) {
    const double weight = largest > 0.0 ? given[i] / largest : 0.0;
    relative[i] = static_cast<T>(weight);
    sum += weight;
  }
  // Not 0 unless all weights are, even if the product underflows.
  return largest > 0.0 ? std::max(sum * (largest / unit), std::numeric_limits<double>::min()) : 0.0;
}

}  // namespace

std::shared_ptr<const Objective> make_objective(std::shared_ptr<const Graph> graph,
                                                std::span<const LossTerm> terms) {
  if (terms.empty()) throw invalid("terms must hold at least one loss; got none");
  auto objective = std::make_shared<Objective>();
  std::vector<int> sinks;
  for (const LossTerm& term : terms) {
    objective->terms.push_back(plan_term(*graph, term));
    sinks.push_back(objective->terms.back().node);
    objective->target_features.push_back(objective->terms.back().target_features);
  }
  objective->plan = make_plan(*graph, sinks);
  objective->graph = std::move(graph);
  return objective;
}

bool holds_labels(const Objective::Term& term, const Table& target) {
  return entry_of(term.loss.kind).takes_labels && target.columns == 1 && is_integer(target.type);
}

template <class T>
double run_losses(const Objective& objective, const Batch& batch, bool gradients, Arena<T>& arena) {
  double loss = 0.0, weight = static_cast<double>(batch.count);
  const std::size_t columns = batch.sample_weights.size();
  const T* const sample_weight = columns > 0 ? arena.sample_weight : nullptr;
  arena.term_losses.clear();
  for (std::size_t i = 0; i < objective.terms.size(); ++i) {
    const Objective::Term& term = objective.terms[i];
    const Table& table = batch.targets[i];
    if (i < columns) weight = gather_weights(batch, i, arena.user_weight, arena.sample_weight);
    Target<T> target;
    if (holds_labels(term, table)) {
      gather<std::int64_t>(table, batch, arena.labels[i]);
      if (sample_weight != nullptr)  // the label of a sample without weight may be any number
        std::transform(arena.labels[i], arena.labels[i] + batch.count, sample_weight, arena.labels[i],
                       [](std::int64_t label, T w) { return w == T{0} ? 0 : label; });
      check_still_below({"y", i, batch.targets.size()}, arena.labels[i], batch.count, term.features);
      target.labels = arena.labels[i];
    } else {
      gather<T>(table, batch, arena.targets[i].data);
      target.values = arena.targets[i];
    }
    const auto node = static_cast<std::size_t>(term.node);
    const double of_term = loss_and_gradient<T>(
        term.loss, arena.values[node], target, sample_weight, Reduction::mean, nullptr,
        gradients ? arena.gradients[node] : Matrix<T>{}, term.weight, objective.plan.accumulate_sink[i] != 0);
    arena.term_losses.push_back({of_term, weight});
    loss += of_term;
  }
  return loss;
}

void MeanLoss::add(std::span<const WeightedLoss> terms) {
  sums_.resize(terms.size());
  for (std::size_t i = 0; i < terms.size(); ++i) {
    sums_[i].loss += terms[i].loss * terms[i].weight;
    sums_[i].weight += terms[i].weight;
  }
}

double MeanLoss::value() const {
  double loss = 0.0;
  for (const WeightedLoss& sum : sums_) loss += sum.weight > 0.0 ? sum.loss / sum.weight : 0.0;
  return loss;
}

template double run_losses<float>(const Objective&, const Batch&, bool, Arena<float>&);
template double run_losses<double>(const Objective&, const Batch&, bool, Arena<double>&);

}  // namespace nncore
