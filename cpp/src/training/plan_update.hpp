// PlanUpdate: the update of one step of a plan - whether all that the step would write is finite, and which
// weights change while their gradients are formed.
#pragma once

#include <cstdint>

#include "graph/arena.hpp"
#include "graph/plan.hpp"
#include "nncore/graph.hpp"
#include "nncore/operation.hpp"
#include "training/sgd_fusion.hpp"
#include "training/store_update.hpp"

namespace nncore {

/// Fills bounded_steps of a arena that has just been laid out: the steps of which to bound the gradient
/// of the first segment reads less than to look at it.
template <class T>
void find_bounded_steps(const Graph& graph, const Plan& plan, const Parameters<T>& parameters,
                        Arena<T>& arena);

/// Made once the loss is known. Then backward asks `takes` for each step; approve and run follow. All
/// arguments outlive it.
template <class T>
class PlanUpdate {
 public:
  PlanUpdate(const Graph& graph, const Plan& plan, Parameters<T>& parameters, Arena<T>& arena,
             const Optimizer& optimizer, const StepOptions& options, OptimizerState<T>& state);

  /// Whether a step's weight changes while its gradient is formed: backward leaves the gradient out.
  bool takes(const PlannedStep& step);

  /// After backward, and before anything is written: lets the transforms change the gradients, and makes sure
  /// that the step leaves all parameters finite. Where a bound of a gradient is too large, the gradient
  /// itself is formed and looked at. Throws NotFinite.
  void approve();

  /// Updates everything, and lets the transforms follow. The value that it has computed for `next`, the batch
  /// of the next step, already; -1: none.
  int run(const Batch& batch, const Batch* next);

 private:
  const Operation& operation(const PlannedStep& step) const { return *graph_.node(step.node).operation; }
  bool is_bounded(const PlannedStep& step) const;
  double gradient_bound(const PlannedStep& step) const;

  const Graph& graph_;
  const Plan& plan_;
  Parameters<T>& parameters_;
  Arena<T>& arena_;
  OptimizerState<T>& state_;
  Transforms transforms_;
  std::span<const int> bounded_steps_;  ///< none where transforms may change the gradients
  StoreUpdate<T> update_;
  SgdFusion<T> fusion_;
};

}  // namespace nncore
