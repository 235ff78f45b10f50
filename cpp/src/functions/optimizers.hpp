// One optimizer step, for internal use: prepared once, then run on any part of the parameters.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/table.hpp"
#include "nncore/optimizers.hpp"

namespace nncore {

/// Up to this limit, step numbers are exact in float64; incrementing one cannot overflow.
inline constexpr std::int64_t kMostSteps = std::int64_t{1} << 53;

/// The slots of some parameters, in the order of the optimizer's entry; null for a slot that does not exist.
template <class T>
using SlotPointers = std::array<T*, kMaxSlots>;

template <class T>
class OptimizerStep {
 public:
  /// `step` counts from 1; the optimizer must be valid and outlive this object.
  OptimizerStep(const Optimizer& optimizer, std::int64_t step, Factors factors = {});

  const Optimizer& optimizer() const { return optimizer_; }
  double learning_rate() const { return learning_rate_; }
  /// Whether a segment's weight_decay_multiplier makes a difference.
  bool decays() const { return weight_decay_ != 0.0 || l2_ != 0.0; }
  /// Whether the update is just p -= learning_rate * gradient, for parameters with these scalars.
  bool is_descent(const kernels::UpdateScalars<T>& scalars) const;
  /// The scalars of all parameters with these multipliers.
  kernels::UpdateScalars<T> scalars(double learning_rate_multiplier, double weight_decay_multiplier) const;
  void update(const kernels::UpdateScalars<T>& scalars, T* parameters, const T* gradients,
              const SlotPointers<T>& slots, std::int64_t count) const;

  /// Gradients (including the l2 term) of up to this magnitude are certain to leave finite parameters and
  /// slots finite. `moment` bounds the magnitude of the slots that may be negative; infinity: some slot holds
  /// an invalid number. Returns 0 if no such gradient is known.
  double safe_gradient(const kernels::UpdateScalars<T>& scalars, double moment) const;
  /// The bound `moment` after a step with gradients of up to this magnitude.
  double next_moment(double moment, double gradient) const;

 private:
  const Optimizer& optimizer_;
  const kernels::UpdateKernel<T>& kernel_;
  double learning_rate_, weight_decay_, l2_;  ///< with the step's factors
  kernels::UpdateScalars<T> prepared_;
};

}  // namespace nncore
