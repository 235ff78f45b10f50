// PlanUpdate: the update of one step of a plan - whether all that the step would write is finite, and which
// weights change while their gradients are formed.
#pragma once

#include <span>

#include "training/node_call.hpp"
#include "training/sgd_fusion.hpp"
#include "training/store_update.hpp"

namespace nncore {

/// Fills bounded_steps of an arena that has just been laid out: the steps of which to bound the gradient
/// of the first segment reads less than to look at it.
template <class T>
void find_bounded_steps(const Running<T>& at_work);

/// Made once the loss is known. Then backward asks `takes` for each step; approve and run follow. All
/// arguments outlive it.
template <class T>
class PlanUpdate {
 public:
  PlanUpdate(const Running<T>& at_work, const Optimizer& optimizer, const StepOptions& options,
             OptimizerState<T>& state);

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
  /// None where transforms may change the gradients.
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
