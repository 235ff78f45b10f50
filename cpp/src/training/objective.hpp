// Objective: loss terms on a graph - which node each reads, and in which form.
#pragma once

#include <span>
#include <vector>

#include "graph/arena.hpp"
#include "graph/plan.hpp"
#include "nncore/network.hpp"

namespace nncore {

struct Objective {
  struct Term {
    Loss loss;              ///< as it is computed: from logits where a final activation was left out
    int node;               ///< whose value it reads
    std::int64_t features;  ///< width of that value
    std::int64_t target_features;
    double weight;
  };
  std::vector<Term> terms;
  std::vector<std::int64_t> target_features;  ///< of each term: the width of its target
  Plan plan;
};

std::shared_ptr<const Objective> make_objective(const Graph& graph, std::span<const LossTerm> terms);

/// Whether this table holds class indices for the term.
bool holds_labels(const Objective::Term& term, const Table& target);

/// Gathers targets and sample weights into the arena, computes the terms, and (where `gradients`) writes
/// each one's gradient to its node. Returns the sum of the terms, each of which is in arena.term_losses.
/// Weights are divided by the batch's largest in float64 before they become T: a mean does not depend on
/// their unit.
template <class T>
double run_losses(const Objective& objective, const Batch& batch, bool gradients, Arena<T>& arena);

/// The loss over several batches: the sum of the terms' means, of each over its own weights.
class MeanLoss {
 public:
  void add(std::span<const WeightedLoss> terms);
  double value() const;

 private:
  std::vector<WeightedLoss> sums_;  ///< of loss times weight, and of weights, of each term
};

}  // namespace nncore
