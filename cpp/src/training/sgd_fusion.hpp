// SgdFusion: plain gradient descent on large weights while their gradients are formed. The gradient is
// neither written nor read; the bits are those of an update afterwards. Nothing else knows how that is done,
// and without it steps are the same, only slower.
#pragma once

#include <span>

#include "graph/arena.hpp"
#include "graph/plan.hpp"
#include "nncore/graph.hpp"
#include "nncore/network.hpp"
#include "nncore/operation.hpp"
#include "training/store_update.hpp"

namespace nncore {

/// A fused step that is made together with the forward pass of the next batch: that batch's one sample, where
/// it lies in its table.
template <class T>
struct Ahead {
  const PlannedStep* step = nullptr;  ///< null: there is none
  const T* sample = nullptr;
};

/// Of one step of the optimizer, among the steps of the plan whose gradients have bounds. Which weights are
/// taken is in the arena's `ways`. All arguments outlive it.
template <class T>
class SgdFusion {
 public:
  SgdFusion(const Graph& graph, const Plan& plan, Parameters<T>& parameters, Arena<T>& arena,
            std::span<const int> bounded_steps, const StoreUpdate<T>& update)
      : graph_(graph),
        plan_(plan),
        parameters_(parameters),
        arena_(arena),
        bounded_steps_(bounded_steps),
        update_(update) {}

  /// Takes the weight of a step whose weight has one use and whose gradient has a bound, if descent is all
  /// that the update does to it. Backward then leaves its gradient out.
  bool take(const PlannedStep& step);
  bool has_taken(const PlannedStep& step) const;
  /// Stores the gradient, and leaves the weight to the update that follows.
  void give_back(const PlannedStep& step);

  /// The step that can wait for the forward pass of `next`.
  Ahead<T> look_ahead(const Batch& batch, const Batch& next) const;
  /// Changes all weights that were taken, but for the one that waits.
  void run(const Ahead<T>& ahead) const;
  /// Changes that one, once everything else is updated, and computes its value for the next batch.
  void advance(const Ahead<T>& ahead) const;

 private:
  const FusedSgd* fused_sgd(const PlannedStep& step) const;
  const Segment& segment(const PlannedStep& step) const;
  UpdateWay& way_of(const PlannedStep& step) const;
  NodeCall<T> call_of(const PlannedStep& step) const;

  const Graph& graph_;
  const Plan& plan_;
  Parameters<T>& parameters_;
  Arena<T>& arena_;
  std::span<const int> bounded_steps_;
  const StoreUpdate<T>& update_;
};

}  // namespace nncore
