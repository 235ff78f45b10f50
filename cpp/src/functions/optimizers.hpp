// One step of an optimizer, inside the library: prepared once, then run on any piece of the parameters.
#pragma once

#include <cstdint>

#include "kernels/table.hpp"
#include "nncore/optimizers.hpp"

namespace nncore {

template <class T>
struct OptimizerStep {
  /// `step` counts from 1; the optimizer is valid and outlives this.
  OptimizerStep(const Optimizer& optimizer, std::int64_t step);

  /// Whether weight decay applies where a segment asks for it.
  bool decays() const;
  /// Whether the update is all in p -= learning_rate times the gradient.
  bool is_descent() const;
  /// For all parameters that are treated in one way.
  kernels::UpdateScalars<T> scalars(double learning_rate_multiplier, bool decay) const;
  /// Moments that the optimizer does not have are not read.
  void update(const kernels::UpdateScalars<T>& scalars, T* parameters, const T* gradients, T* first_moment,
              T* second_moment, std::int64_t count) const;

  /// Gradients of this magnitude surely leave finite parameters and moments finite, where no first moment is
  /// larger than `moment`. 0: none do, or nobody knows.
  double safe_gradient(const kernels::UpdateScalars<T>& scalars, double moment) const;
  /// The largest first moment after a step on such moments and gradients.
  double next_moment(double moment, double gradient) const;

  const Optimizer& optimizer;
  double correction1;       ///< adam: 1 - beta1^step
  double root_correction2;  ///< adam: sqrt(1 - beta2^step)
};

}  // namespace nncore
