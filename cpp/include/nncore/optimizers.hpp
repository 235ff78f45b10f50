// Optimizers: how gradients change parameters.
#pragma once

#include <cstdint>

#include "nncore/aligned_buffer.hpp"

namespace nncore {

enum class OptimizerKind { sgd, momentum, nesterov, adam, adamw };
inline constexpr int kOptimizerKindCount = 5;

/// The one name an optimizer has in C++, Python, files and docs: "sgd", "adamw", ...
const char* name(OptimizerKind kind);

/// The number of arrays of the parameters' length that the optimizer keeps: 0, 1 or 2.
int moment_count(OptimizerKind kind);

/// What to do; OptimizerState is what to remember. Fields that a kind does not use are ignored.
struct Optimizer {
  OptimizerKind kind = OptimizerKind::adam;
  double learning_rate = 1e-3;
  double momentum = 0.9;      ///< momentum, nesterov
  double beta1 = 0.9;         ///< adam, adamw
  double beta2 = 0.999;       ///< adam, adamw
  double epsilon = 1e-8;      ///< adam, adamw: added to the root
  double weight_decay = 0.0;  ///< adamw: decoupled, w -= learning_rate * weight_decay * w
};

/// Throws std::invalid_argument, naming the field, for values outside their range.
void validate(const Optimizer& optimizer);

/// The moments of an optimizer and how many steps it has made.
template <class T>
struct OptimizerState {
  OptimizerState(OptimizerKind kind, std::int64_t parameter_count);

  std::int64_t steps = 0;
  AlignedBuffer<T> first_moment, second_moment;  ///< empty where the optimizer has none
};

/// As validate(optimizer), and for a state that was made for another kind or number of parameters.
template <class T>
void validate(const Optimizer& optimizer, const OptimizerState<T>& state, std::int64_t parameter_count);

/// One update of `count` parameters; `step` counts from 1 and moments start at zero.
///   sgd       p -= lr g
///   momentum  m = mu m + g;  p -= lr m
///   nesterov  m = mu m + g;  p -= lr (g + mu m)
///   adam      m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
///             p -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
///   adamw     p -= lr wd p where `decay`, then as adam
/// A moment that would be subnormal becomes zero.
/// `learning_rate_multiplier` scales lr. Elementwise: any split of the array gives the same bits.
template <class T>
void optimizer_update(const Optimizer& optimizer, std::int64_t step, T* parameters, const T* gradients,
                      T* first_moment, T* second_moment, std::int64_t count,
                      double learning_rate_multiplier = 1.0, bool decay = true);

}  // namespace nncore
