// SgdFusion: plain gradient descent that updates large weights while their gradients are computed. A gradient
// is then neither written nor read, and the bits are those of a separate update. Only this class knows how;
// without it, steps are the same, only slower.
#pragma once

#include <span>

#include "nncore/network.hpp"
#include "training/node_call.hpp"
#include "training/store_update.hpp"

namespace nncore {

/// A fused update that waits, to be made together with the forward pass of the next batch, whose one sample
/// is read in place, in its table.
template <class T>
struct Ahead {
  const PlannedStep* step = nullptr;  ///< null: there is none
  const T* sample = nullptr;
};

/// The fused updates of one optimizer step, among the steps of the plan whose gradients have bounds. The
/// arena's `ways` say which weights are fused. All arguments must outlive it.
template <class T>
class SgdFusion {
 public:
  SgdFusion(const Running<T>& at_work, std::span<const int> bounded_steps, const StoreUpdate<T>& update)
      : at_work_(at_work), bounded_steps_(bounded_steps), update_(update) {}

  /// Fuses the update of a step's weight, if the operation can and the update is plain gradient descent. The
  /// weight must have one use, and its gradient a bound. If it returns true, backward skips the gradient.
  bool take(const PlannedStep& step);
  /// Stores the gradient after all, and leaves the weight to the update that follows.
  void give_back(const PlannedStep& step);

  /// The fused update that can wait for the forward pass of `next`.
  Ahead<T> look_ahead(const Batch& batch, const Batch& next) const;
  /// Updates all fused weights except the one that waits.
  void run(const Ahead<T>& ahead) const;
  /// Updates the weight that waits, after everything else, and computes its node's value for the next batch.
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
