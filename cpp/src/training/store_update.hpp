// StoreUpdate: one step of an optimizer on a store of parameters, made whole or not at all.
#pragma once

#include <cstdint>
#include <span>

#include "functions/optimizers.hpp"
#include "graph/arena.hpp"
#include "nncore/parameters.hpp"

namespace nncore {

/// The step after those of `state`, prepared. All arguments outlive it. First each segment's gradient is
/// approved, by a bound or by looking, then run() writes.
template <class T>
class StoreUpdate {
 public:
  StoreUpdate(const Optimizer& optimizer, const Factors& factors, OptimizerState<T>& state,
              Parameters<T>& store)
      : step_(optimizer, state.steps + 1, factors),
        state_(state),
        store_(store),
        moment_(state.largest_moment()) {}

  /// What plain gradient descent adds of the gradient to a segment; 0 where that is not all of the update.
  T descent(const Segment& segment) const;

  /// Whether gradients of this magnitude surely leave `count` parameters from `offset` on finite, which are
  /// treated as the segment is.
  bool approves(const Segment& segment, std::int64_t offset, std::int64_t count, double largest_gradient);

  /// Looks at the stored gradients of those of the `segments` (increasing) that are trainable and whose ways
  /// (empty: all are `look`) say so. Throws NotFinite, naming one, where the step would leave it with numbers
  /// that are not finite; nothing has been written then.
  void approve(std::span<const int> segments, std::span<const UpdateWay> ways);

  /// Updates the same segments and those that are `bounded`, and counts the step.
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
  double moment_;          ///< no slot that may be negative is larger before the step
  double gradient_ = 0.0;  ///< nor any gradient that was approved
  bool tried_out_ = false;
  mutable const Segment* like_ = nullptr;  ///< whose scalars these are
  mutable kernels::UpdateScalars<T> scalars_;
};

}  // namespace nncore
