// PlanUpdate: the update of one training step. Checks that everything the step would write is finite, and
// decides which weights are updated while their gradients are computed.
#pragma once

#include <span>

#include "training/node_call.hpp"
#include "training/sgd_fusion.hpp"
#include "training/store_update.hpp"

namespace nncore {

/// Fills bounded_steps of an arena that has just been laid out: the steps whose first segment's gradient
/// takes fewer reads to bound than to check.
template <class T>
void find_bounded_steps(const Running<T>& at_work);

/// Constructed once the loss is known. Backward then calls `takes` for each step; approve and run follow. All
/// arguments must outlive it.
template <class T>
class PlanUpdate {
 public:
  PlanUpdate(const Running<T>& at_work, const Optimizer& optimizer, const StepOptions& options,
             OptimizerState<T>& state);

  /// Whether a step's weight is updated while its gradient is computed. If so, backward skips the gradient.
  bool takes(const PlannedStep& step);

  /// Called after backward, before anything is written. Lets the transforms change the gradients, and makes
  /// sure that the step leaves all parameters finite. Where the bound on a gradient is too large, computes
  /// and checks the gradient itself. Throws NotFinite.
  void approve();

  /// Updates everything, and lets the transforms follow. Returns the node whose value it has already computed
  /// for `next`, the batch of the next step; -1: none.
  int run(const Batch& batch, const Batch* next);

 private:
  /// Empty if there are transforms, which may change the gradients.
  std::span<const int> bounded_steps() const {
    return transforms_.empty() ? std::span<const int>(at_work_.arena.bounded_steps) : std::span<const int>();
  }
  double gradient_bound(const PlannedStep& step) const;

  Running<T> at_work_;
  OptimizerState<T>& state_;
  Transforms transforms_;
  StoreUpdate<T> update_;
  SgdFusion<T> fusion_;
};

}  // namespace nncore
