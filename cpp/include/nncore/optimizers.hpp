// Optimizers: updates of parameters from their gradients.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nncore/aligned_buffer.hpp"
#include "nncore/entries.hpp"

namespace nncore {

enum class OptimizerKind { sgd, adam, adamw, rmsprop, adagrad, adamax };

/// An optimizer: its kind and hyperparameters; what it remembers is in OptimizerState. Hyperparameters that
/// the kind does not use are 0. kOptimizers tells their meanings.
struct Optimizer {
  OptimizerKind kind = OptimizerKind::adam;
  double learning_rate = 0.0;
  double weight_decay = 0.0;
  double l2 = 0.0;
  double momentum = 0.0;
  double nesterov = 0.0;
  double beta1 = 0.0;
  double beta2 = 0.0;
  double alpha = 0.0;
  double epsilon = 0.0;
  double centered = 0.0;
  double initial_accumulator_value = 0.0;

  /// Sets the hyperparameters to the defaults of the kind's entry.
  constexpr Optimizer(OptimizerKind kind);  // NOLINT(google-explicit-constructor)
  bool operator==(const Optimizer&) const = default;
};

/// Factors of the hyperparameters in one step, for schedules. A factor of 1 leaves results identical to the
/// bit.
struct Factors {
  double learning_rate = 1.0;
  double weight_decay = 1.0;  ///< multiplies weight_decay and l2
  bool operator==(const Factors&) const = default;
};

/// An array with one element per parameter that an optimizer keeps from step to step.
struct Slot {
  const char* name = nullptr;             ///< null marks the end of the list
  double Optimizer::* initial = nullptr;  ///< the initial value of each element; 0 if null
  double Optimizer::* only_if = nullptr;  ///< if not null, the slot exists only if this is not 0
  bool never_negative = false;            ///< true for a mean of squares, for example

  /// Whether an optimizer with these hyperparameters has the slot.
  constexpr bool exists(const Optimizer& optimizer) const {
    return name != nullptr && (only_if == nullptr || optimizer.*only_if != 0.0);
  }
};
inline constexpr int kMaxSlots = 3;

/// What the library knows about one optimizer.
struct OptimizerEntry {
  OptimizerKind kind;
  const char* name;        ///< used in C++, Python, files and documentation
  const char* class_name;  ///< the Python class
  Parameter<Optimizer> parameters[8] = {};
  Slot slots[kMaxSlots] = {};
  /// Whether the update without slots is p -= learning_rate g, which can be fused with the computation of g.
  bool is_descent = false;
  /// The error message if hyperparameters that are each in range conflict, otherwise null.
  const char* (*conflict)(const Optimizer&) = nullptr;
  const char* summary;  ///< docstring of the Python class
  /// The update in step t, counted from 1, after g += l2 p and p -= learning_rate weight_decay p.
  const char* formula;
};

/// Hyperparameters that several entries have.
namespace hyperparameters {

constexpr Parameter<Optimizer> learning_rate(double initial) {
  return {"learning_rate", &Optimizer::learning_rate, initial, kNotNegative, "the step size"};
}
constexpr Parameter<Optimizer> weight_decay(double initial) {
  return {"weight_decay", &Optimizer::weight_decay, initial, kNotNegative,
          "decoupled: p -= learning_rate weight_decay p in each step, for weights but not for biases"};
}
inline constexpr Parameter<Optimizer> kL2 = {
    "l2", &Optimizer::l2, 0.0, kNotNegative,
    "coupled: g += l2 p before the step, for weights but not for biases (PyTorch's weight_decay)"};
constexpr Parameter<Optimizer> epsilon(double initial) {
  return {"epsilon", &Optimizer::epsilon, initial, kPositive,
          "a small number that keeps the denominator positive"};
}
inline constexpr Parameter<Optimizer> kMomentum = {"momentum", &Optimizer::momentum, 0.0, kFraction,
                                                   "the fraction of the last step's direction that is kept"};
inline constexpr Parameter<Optimizer> kBeta1 = {"beta1", &Optimizer::beta1, 0.9, kFraction,
                                                "the decay rate of the mean gradient"};
inline constexpr Parameter<Optimizer> kBeta2 = {"beta2", &Optimizer::beta2, 0.999, kFraction,
                                                "the decay rate of the mean squared gradient"};

}  // namespace hyperparameters

/// One entry for each kind, in the order of OptimizerKind.
inline constexpr OptimizerEntry kOptimizers[] = {
    {.kind = OptimizerKind::sgd,
     .name = "sgd",
     .class_name = "SGD",
     .parameters = {hyperparameters::learning_rate(1e-2),
                    hyperparameters::kMomentum,
                    {"nesterov", &Optimizer::nesterov, 0.0, kChoice, "whether to use Nesterov momentum",
                     "False|True"},
                    hyperparameters::weight_decay(0.0),
                    hyperparameters::kL2},
     .slots = {{.name = "momentum_buffer", .only_if = &Optimizer::momentum}},
     .is_descent = true,
     .conflict =
         [](const Optimizer& o) {
           return o.nesterov != 0.0 && o.momentum == 0.0 ? "nesterov must be False if momentum is 0; got True"
                                                         : nullptr;
         },
     .summary = "Gradient descent, optionally with momentum or Nesterov momentum.",
     .formula = "p -= learning_rate g; with momentum m = momentum m + g, p -= learning_rate m; "
                "with nesterov p -= learning_rate (g + momentum m)"},
    {.kind = OptimizerKind::adam,
     .name = "adam",
     .class_name = "Adam",
     .parameters = {hyperparameters::learning_rate(1e-3), hyperparameters::kBeta1, hyperparameters::kBeta2,
                    hyperparameters::epsilon(1e-8), hyperparameters::weight_decay(0.0), hyperparameters::kL2},
     .slots = {{.name = "first_moment"}, {.name = "second_moment", .never_negative = true}},
     .summary = "Adam (Kingma and Ba 2015) with bias correction; epsilon is added to the square root.",
     .formula = "m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; "
                "p -= learning_rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)"},
    {.kind = OptimizerKind::adamw,
     .name = "adamw",
     .class_name = "AdamW",
     .parameters = {hyperparameters::learning_rate(1e-3), hyperparameters::kBeta1, hyperparameters::kBeta2,
                    hyperparameters::epsilon(1e-8), hyperparameters::weight_decay(1e-2),
                    hyperparameters::kL2},
     .slots = {{.name = "first_moment"}, {.name = "second_moment", .never_negative = true}},
     .summary = "Adam with decoupled weight decay (Loshchilov and Hutter 2019).",
     .formula = "as adam"},
    {.kind = OptimizerKind::rmsprop,
     .name = "rmsprop",
     .class_name = "RMSprop",
     .parameters = {hyperparameters::learning_rate(1e-2),
                    {"alpha", &Optimizer::alpha, 0.99, kFraction,
                     "the decay rate of the mean squared gradient"},
                    hyperparameters::epsilon(1e-8),
                    hyperparameters::kMomentum,
                    {"centered", &Optimizer::centered, 0.0, kChoice,
                     "whether to divide by the variance of the gradient instead of its mean square",
                     "False|True"},
                    hyperparameters::weight_decay(0.0),
                    hyperparameters::kL2},
     .slots = {{.name = "square_average", .never_negative = true},
               {.name = "gradient_average", .only_if = &Optimizer::centered},
               {.name = "momentum_buffer", .only_if = &Optimizer::momentum}},
     .summary = "RMSprop (Hinton 2012), optionally centered (Graves 2013).",
     .formula = "v = alpha v + (1 - alpha) g^2; d = g / (sqrt(v) + epsilon); p -= learning_rate d; "
                "with centered a = alpha a + (1 - alpha) g, d = g / (sqrt(max(v - a^2, 0)) + epsilon); "
                "with momentum m = momentum m + d, p -= learning_rate m"},
    {.kind = OptimizerKind::adagrad,
     .name = "adagrad",
     .class_name = "Adagrad",
     .parameters = {hyperparameters::learning_rate(1e-2),
                    hyperparameters::epsilon(1e-10),
                    {"initial_accumulator_value", &Optimizer::initial_accumulator_value, 0.0, kNotNegative,
                     "the initial value of the sums of squared gradients"},
                    hyperparameters::weight_decay(0.0),
                    hyperparameters::kL2},
     .slots = {{.name = "square_sum",
                .initial = &Optimizer::initial_accumulator_value,
                .never_negative = true}},
     .summary = "Adagrad (Duchi et al. 2011): parameters with large past gradients take smaller steps.",
     .formula =
         "v += g^2; p -= learning_rate g / (sqrt(v) + epsilon); v starts at initial_accumulator_value"},
    {.kind = OptimizerKind::adamax,
     .name = "adamax",
     .class_name = "Adamax",
     .parameters = {hyperparameters::learning_rate(2e-3), hyperparameters::kBeta1, hyperparameters::kBeta2,
                    hyperparameters::epsilon(1e-8), hyperparameters::weight_decay(0.0), hyperparameters::kL2},
     .slots = {{.name = "first_moment"}, {.name = "largest", .never_negative = true}},
     .summary = "Adam with the decayed maximum of |g| instead of the mean square (Kingma and Ba 2015).",
     .formula = "m = beta1 m + (1 - beta1) g; u = max(beta2 u, |g| + epsilon); "
                "p -= learning_rate / (1 - beta1^t) m / u"},
};
static_assert(is_in_order(kOptimizers));
inline constexpr int kOptimizerCount = static_cast<int>(std::size(kOptimizers));

/// The entry of a kind.
constexpr const OptimizerEntry& entry_of(OptimizerKind kind) {
  return kOptimizers[static_cast<std::size_t>(kind)];
}

constexpr Optimizer::Optimizer(OptimizerKind kind_) : kind(kind_) {
  for (const Parameter<Optimizer>& parameter : entry_of(kind_).parameters)
    if (parameter.name != nullptr) this->*parameter.field = parameter.initial;
}

/// Throws std::invalid_argument, naming the hyperparameter, if a hyperparameter is out of range or conflicts
/// with another.
void validate(const Optimizer& optimizer);
/// Throws std::invalid_argument, naming the factor, unless both factors are finite and at least 0.
void validate(const Factors& factors);

/// What an optimizer remembers of a store: its slots, those of transforms (nncore/transforms.hpp), and the
/// number of steps made.
template <class T>
class OptimizerState {
 public:
  /// Makes the slots of the optimizer, with `parameter_count` elements each. Throws std::invalid_argument if
  /// the count is negative or too large.
  OptimizerState(const Optimizer& optimizer, std::int64_t parameter_count);

  std::int64_t steps = 0;  ///< the number of steps made

  OptimizerKind kind() const { return kind_; }
  std::int64_t parameter_count() const { return count_; }
  /// The names of the slots that exist, those of transforms last.
  std::vector<std::string> slot_names() const;

  /// A slot for writing, or null if there is none of that name. The state owns it. Call this again before
  /// writing after a step, or use begin_borrow() while you keep the pointer.
  T* slot(std::string_view name) {
    know(kUnknown);
    return const_cast<T*>(find(name));
  }
  /// A slot for reading, or null if there is none of that name.
  const T* slot(std::string_view name) const { return find(name); }

  /// The slot of a transform. If it does not exist, it is created as a copy of `start`.
  T* transform_slot(std::string_view name, const T* start);

  /// Between begin_borrow() and end_borrow(), slots may be written at any time.
  void begin_borrow() { borrowers_.fetch_add(1); }
  void end_borrow() {
    know(kUnknown);
    borrowers_.fetch_sub(1);
  }

 private:
  template <class>
  friend class StoreUpdate;
  template <class U>
  friend void validate(const Optimizer& optimizer, const OptimizerState<U>& state, std::int64_t count);
  static constexpr double kUnknown = std::numeric_limits<double>::infinity();

  struct TransformSlot {
    std::string name;
    AlignedBuffer<T> values;
  };

  const T* find(std::string_view name) const;
  void know(double largest) { largest_.store(largest, std::memory_order_relaxed); }
  /// A bound on the magnitudes of slots that may be negative; infinity unless all slots are finite and
  /// never_negative ones are at least 0. Scans the slots if they may have been written from outside.
  double largest_moment();

  OptimizerKind kind_;
  std::int64_t count_;
  std::array<AlignedBuffer<T>, kMaxSlots> own_;  ///< in the order of the entry; empty if not kept
  std::vector<TransformSlot> of_transforms_;
  std::atomic<double> largest_ = 0.0;
  std::atomic<int> borrowers_ = 0;
};

/// As validate(optimizer), and throws if the state was made for another kind, other slots or another number
/// of parameters.
template <class T>
void validate(const Optimizer& optimizer, const OptimizerState<T>& state, std::int64_t parameter_count);

/// Updates `count` parameters by the formula of the optimizer's entry. `step` counts from 1. `slots` are in
/// the order of the entry, null for those that do not exist. Subnormal slot elements are flushed to zero. The
/// update is elementwise, so splitting the arrays in any way gives the same bits.
template <class T>
void optimizer_update(const Optimizer& optimizer, std::int64_t step, T* parameters, const T* gradients,
                      const std::array<T*, kMaxSlots>& slots, std::int64_t count,
                      double learning_rate_multiplier = 1.0, double weight_decay_multiplier = 1.0);

}  // namespace nncore
