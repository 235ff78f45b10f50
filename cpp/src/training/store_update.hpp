// StoreUpdate: one step of an optimizer on a store of parameters, made completely or not at all.
#pragma once

#include <cstdint>
#include <span>

#include "functions/optimizers.hpp"
#include "graph/arena.hpp"
#include "nncore/parameters.hpp"

namespace nncore {

/// The step that follows those of `state`. All arguments must outlive it. First each segment's gradient is
/// approved, by a bound or by a check of its elements; then run() writes.
template <class T>
class StoreUpdate {
 public:
  StoreUpdate(const Optimizer& optimizer, const Factors& factors, OptimizerState<T>& state,
              Parameters<T>& store)
      : step_(optimizer, state.steps + 1, factors),
        state_(state),
        store_(store),
        moment_(state.largest_moment()) {}

  /// The factor with which plain gradient descent adds the gradient to a segment; 0 if the update does more.
  T descent(const Segment& segment) const;

  /// Whether gradients of up to this magnitude are certain to leave `count` parameters from `offset` on
  /// finite. The parameters must have the multipliers of `segment`.
  bool approves(const Segment& segment, std::int64_t offset, std::int64_t count, double largest_gradient);

  /// Checks the stored gradients of the trainable `segments` (increasing) whose way is `look`, or of all of
  /// them if `ways` is empty. If the step would leave a segment with non-finite numbers, throws NotFinite,
  /// naming the segment, before anything is written.
  void approve(std::span<const int> segments, std::span<const UpdateWay> ways);

  /// Updates the same segments and those whose way is `bounded`, and counts the step.
  void run(std::span<const int> segments, std::span<const UpdateWay> ways);

 private:
  bool are_alike(const Segment& a, const Segment& b) const;
  const kernels::UpdateScalars<T>& scalars(const Segment& segment) const;
  template <class IsDue, class Body>
  void for_each_run(std::span<const int> segments, IsDue is_due, Body body) const;
  SlotPointers<T> slots(std::int64_t offset) const;
  void try_out(int segment);
  [[noreturn]] void refuse(int segment) const;

  OptimizerStep<T> step_;
  OptimizerState<T>& state_;
  Parameters<T>& store_;
  double moment_;          ///< bounds the slots that may be negative, before the step
  double gradient_ = 0.0;  ///< bounds the gradients that were approved
  bool tried_out_ = false;
  mutable const Segment* like_ = nullptr;  ///< the segment of scalars_
  mutable kernels::UpdateScalars<T> scalars_;
};

}  // namespace nncore
