// One step of an optimizer, inside the library: prepared once, then run on any piece of the parameters.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/table.hpp"
#include "nncore/optimizers.hpp"

namespace nncore {

/// Numbers of steps are exact in float64, and counting on makes none that is too large.
inline constexpr std::int64_t kMostSteps = std::int64_t{1} << 53;

/// The slots of some parameters, in the order of the entry; null where there is none.
template <class T>
using SlotPointers = std::array<T*, kMaxSlots>;

template <class T>
class OptimizerStep {
 public:
  /// `step` counts from 1; the optimizer is valid and outlives this.
  OptimizerStep(const Optimizer& optimizer, std::int64_t step, Factors factors = {});

  const Optimizer& optimizer() const { return optimizer_; }
  double learning_rate() const { return learning_rate_; }
  /// Whether a segment's weight_decay_multiplier makes a difference.
  bool decays() const { return weight_decay_ != 0.0 || l2_ != 0.0; }
  /// Whether the update is all in p -= learning_rate times the gradient, for parameters with these scalars.
  bool is_descent(const kernels::UpdateScalars<T>& scalars) const;
  /// For all parameters that are treated in one way.
  kernels::UpdateScalars<T> scalars(double learning_rate_multiplier, double weight_decay_multiplier) const;
  void update(const kernels::UpdateScalars<T>& scalars, T* parameters, const T* gradients,
              const SlotPointers<T>& slots, std::int64_t count) const;

  /// Gradients of this magnitude, with l2 in them, surely leave finite parameters and slots finite, where no
  /// slot that may be negative is larger than `moment` (infinity: one of the slots
  /// is not sound). 0: none do, or nobody knows.
  double safe_gradient(const kernels::UpdateScalars<T>& scalars, double moment) const;
  /// The largest of such a slot after a step on such slots and gradients.
  double next_moment(double moment, double gradient) const;

 private:
  const Optimizer& optimizer_;
  const kernels::UpdateKernel<T>& kernel_;
  double learning_rate_, weight_decay_, l2_;  ///< times the step's factors
  kernels::UpdateScalars<T> prepared_;
};

}  // namespace nncore
