// Optimizers: how gradients change parameters.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

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
class OptimizerState {
 public:
  OptimizerState(OptimizerKind kind, std::int64_t parameter_count);

  std::int64_t steps = 0;

  /// For writing; null where the optimizer has none. Whoever keeps the pointer calls this again before
  /// writing after a step, or borrows the moments as long as it is kept.
  T* first_moment() { return written(first_); }
  T* second_moment() { return written(second_); }
  const T* first_moment() const { return first_.data(); }
  const T* second_moment() const { return second_.data(); }
  std::int64_t first_moment_size() const { return first_.size(); }
  std::int64_t second_moment_size() const { return second_.size(); }

  /// While somebody may write moments at any time.
  void begin_borrow() { borrowers_.fetch_add(1); }
  void end_borrow() {
    know(kUnknown);
    borrowers_.fetch_sub(1);
  }

 private:
  template <class>
  friend class StoreUpdate;
  static constexpr double kUnknown = std::numeric_limits<double>::infinity();

  T* written(AlignedBuffer<T>& moment) {
    know(kUnknown);
    return moment.data();
  }
  void know(double largest) { largest_.store(largest, std::memory_order_relaxed); }
  /// No first moment is larger in magnitude, and all second ones are finite and not negative; infinity where
  /// that is not so. Looks at all of them where somebody else may have written them.
  double largest_moment();

  AlignedBuffer<T> first_, second_;
  std::atomic<double> largest_ = 0.0;
  std::atomic<int> borrowers_ = 0;
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
