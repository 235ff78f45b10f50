// Objective: the loss terms on a graph, with the node that each reads and the form in which it is computed.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "graph/arena.hpp"
#include "graph/plan.hpp"
#include "nncore/network.hpp"

namespace nncore {

struct Objective {
  struct Term {
    Loss loss;              ///< as computed: from logits if a final activation was left out
    int node;               ///< the node whose value it reads
    std::int64_t features;  ///< width of that value
    std::int64_t target_features;
    double weight;
  };
  std::shared_ptr<const Graph> graph;  ///< the graph of the plan
  std::vector<Term> terms;
  std::vector<std::int64_t> target_features;  ///< of each term: the width of its target
  Plan plan;
};

std::shared_ptr<const Objective> make_objective(std::shared_ptr<const Graph> graph,
                                                std::span<const LossTerm> terms);

/// Whether this table holds class indices for the term.
bool holds_labels(const Objective::Term& term, const Table& target);

/// Gathers targets and sample weights into the arena, computes the terms and, if `gradients`, writes the
/// gradient of each to its node. Returns the sum of the terms, and stores each in arena.term_losses. Weights
/// are divided by the batch's largest in float64 before they are rounded to T, so that a mean does not depend
/// on their unit.
template <class T>
double run_losses(const Objective& objective, const Batch& batch, bool gradients, Arena<T>& arena);

/// The loss over several batches: the sum of the terms' means, each over the term's own weights.
class MeanLoss {
 public:
  void add(std::span<const WeightedLoss> terms);
  double value() const;

 private:
  std::vector<WeightedLoss> sums_;  ///< of each term: the sums of loss times weight, and of weights
};

}  // namespace nncore
