// SgdFusion: plain gradient descent on large weights while their gradients are formed. The gradient is
// neither written nor read; the bits are those of an update afterwards. Nothing else knows how that is done,
// and without it steps are the same, only slower.
#pragma once

#include <span>

#include "nncore/network.hpp"
#include "training/node_call.hpp"
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
  SgdFusion(const Running<T>& at_work, std::span<const int> bounded_steps, const StoreUpdate<T>& update)
      : at_work_(at_work), bounded_steps_(bounded_steps), update_(update) {}

  /// Takes the weight of a step whose weight has one use and whose gradient has a bound, if descent is all
  /// that the update does to it. Backward then leaves its gradient out.
  bool take(const PlannedStep& step);
  /// Stores the gradient, and leaves the weight to the update that follows.
  void give_back(const PlannedStep& step);

  /// The step that can wait for the forward pass of `next`.
  Ahead<T> look_ahead(const Batch& batch, const Batch& next) const;
  /// Changes all weights that were taken, but for the one that waits.
  void run(const Ahead<T>& ahead) const;
  /// Changes that one, once everything else is updated, and computes its value for the next batch.
  void advance(const Ahead<T>& ahead) const;

 private:
  const PlannedStep& step_at(int index) const { return at_work_.plan.steps[static_cast<std::size_t>(index)]; }
  UpdateWay& way_of(const PlannedStep& step) const {
    return at_work_.arena.ways[at_work_.first_segment(step)];
  }
  const FusedSgd<T>* fused_sgd(const PlannedStep& step) const {
    return at_work_.operation(step).fused_sgd(T{});
  }
  NodeCall<T> call_of(const PlannedStep& step) const;

  Running<T> at_work_;
  std::span<const int> bounded_steps_;
  const StoreUpdate<T>& update_;
};

}  // namespace nncore
