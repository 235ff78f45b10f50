// Optimizers: how gradients change parameters.
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

/// What to do; OptimizerState is what to remember. Hyperparameters that the kind does not have are 0.
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

  /// With the hyperparameters that the entry tells.
  constexpr Optimizer(OptimizerKind kind);  // NOLINT(google-explicit-constructor)
  bool operator==(const Optimizer&) const = default;
};

/// What multiplies the hyperparameters of one step, as a schedule has it. 1 changes no bit.
struct Factors {
  double learning_rate = 1.0;
  double weight_decay = 1.0;  ///< of weight_decay and l2
  bool operator==(const Factors&) const = default;
};

/// An array of the parameters' length that an optimizer keeps from step to step.
struct Slot {
  const char* name = nullptr;             ///< null: there are no more
  double Optimizer::* initial = nullptr;  ///< where each element starts; null: at 0
  double Optimizer::* only_if = nullptr;  ///< the slot is there only where this is not 0; null: always
  bool never_negative = false;            ///< as a mean of squares

  constexpr bool exists(const Optimizer& optimizer) const {
    return name != nullptr && (only_if == nullptr || optimizer.*only_if != 0.0);
  }
};
inline constexpr int kMaxSlots = 3;

struct OptimizerEntry {
  OptimizerKind kind;
  const char* name;        ///< in C++, Python, files and docs
  const char* class_name;  ///< of Python's class
  Parameter<Optimizer> parameters[8] = {};
  Slot slots[kMaxSlots] = {};
  /// Whether the update without slots is p -= learning_rate g, which may be made while gradients are formed.
  bool is_descent = false;
  /// What is wrong with hyperparameters that are right each by itself, as messages say it; null: nothing.
  const char* (*conflict)(const Optimizer&) = nullptr;
  const char* summary;  ///< the class's docstring
  /// Of step t, counted from 1. All begin with g += l2 p and p -= learning_rate weight_decay p.
  const char* formula;
};

namespace hyperparameters {

constexpr Parameter<Optimizer> learning_rate(double initial) {
  return {"learning_rate", &Optimizer::learning_rate, initial, kNotNegative, "the size of a step"};
}
constexpr Parameter<Optimizer> weight_decay(double initial) {
  return {"weight_decay", &Optimizer::weight_decay, initial, kNotNegative,
          "decoupled: p -= learning_rate weight_decay p in each step, of weights but not of biases"};
}
inline constexpr Parameter<Optimizer> kL2 = {
    "l2", &Optimizer::l2, 0.0, kNotNegative,
    "coupled: g += l2 p before the step, of weights but not of biases (what PyTorch calls weight_decay)"};
constexpr Parameter<Optimizer> epsilon(double initial) {
  return {"epsilon", &Optimizer::epsilon, initial, kPositive, "added to the root"};
}
inline constexpr Parameter<Optimizer> kMomentum = {"momentum", &Optimizer::momentum, 0.0, kFraction,
                                                   "how much of the last step's direction stays; 0: none"};
inline constexpr Parameter<Optimizer> kBeta1 = {"beta1", &Optimizer::beta1, 0.9, kFraction,
                                                "how much of the mean gradient a step keeps"};
inline constexpr Parameter<Optimizer> kBeta2 = {"beta2", &Optimizer::beta2, 0.999, kFraction,
                                                "how much of the mean squared gradient a step keeps"};

}  // namespace hyperparameters

inline constexpr OptimizerEntry kOptimizers[] = {
    {.kind = OptimizerKind::sgd,
     .name = "sgd",
     .class_name = "SGD",
     .parameters = {hyperparameters::learning_rate(1e-2),
                    hyperparameters::kMomentum,
                    {"nesterov", &Optimizer::nesterov, 0.0, kChoice,
                     "whether a step looks ahead along the momentum", "False|True"},
                    hyperparameters::weight_decay(0.0),
                    hyperparameters::kL2},
     .slots = {{.name = "momentum_buffer", .only_if = &Optimizer::momentum}},
     .is_descent = true,
     .conflict =
         [](const Optimizer& o) {
           return o.nesterov != 0.0 && o.momentum == 0.0
                      ? "nesterov must be False where momentum is 0; got True"
                      : nullptr;
         },
     .summary = "Gradient descent, with momentum or Nesterov's momentum where asked for.",
     .formula = "p -= learning_rate g; with momentum m = momentum m + g, p -= learning_rate m; "
                "with nesterov p -= learning_rate (g + momentum m)"},
    {.kind = OptimizerKind::adam,
     .name = "adam",
     .class_name = "Adam",
     .parameters = {hyperparameters::learning_rate(1e-3), hyperparameters::kBeta1, hyperparameters::kBeta2,
                    hyperparameters::epsilon(1e-8), hyperparameters::weight_decay(0.0), hyperparameters::kL2},
     .slots = {{.name = "first_moment"}, {.name = "second_moment", .never_negative = true}},
     .summary = "Adam (Kingma and Ba 2015), with bias correction; epsilon is added to the root.",
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
                     "how much of the mean squared gradient a step keeps"},
                    hyperparameters::epsilon(1e-8),
                    hyperparameters::kMomentum,
                    {"centered", &Optimizer::centered, 0.0, kChoice,
                     "whether the variance of the gradient stands for its mean square", "False|True"},
                    hyperparameters::weight_decay(0.0),
                    hyperparameters::kL2},
     .slots = {{.name = "square_average", .never_negative = true},
               {.name = "gradient_average", .only_if = &Optimizer::centered},
               {.name = "momentum_buffer", .only_if = &Optimizer::momentum}},
     .summary = "RMSprop (Hinton 2012), with the mean gradient taken off where centered (Graves 2013).",
     .formula = "v = alpha v + (1 - alpha) g^2; d = g / (sqrt(v) + epsilon); p -= learning_rate d; "
                "with centered a = alpha a + (1 - alpha) g, d = g / (sqrt(max(v - a^2, 0)) + epsilon); "
                "with momentum m = momentum m + d, p -= learning_rate m"},
    {.kind = OptimizerKind::adagrad,
     .name = "adagrad",
     .class_name = "Adagrad",
     .parameters = {hyperparameters::learning_rate(1e-2),
                    hyperparameters::epsilon(1e-10),
                    {"initial_accumulator_value", &Optimizer::initial_accumulator_value, 0.0, kNotNegative,
                     "where the sums of squared gradients start"},
                    hyperparameters::weight_decay(0.0),
                    hyperparameters::kL2},
     .slots = {{.name = "square_sum",
                .initial = &Optimizer::initial_accumulator_value,
                .never_negative = true}},
     .summary = "Adagrad (Duchi et al. 2011): steps become smaller where gradients were large.",
     .formula =
         "v += g^2; p -= learning_rate g / (sqrt(v) + epsilon); v starts at initial_accumulator_value"},
    {.kind = OptimizerKind::adamax,
     .name = "adamax",
     .class_name = "Adamax",
     .parameters = {hyperparameters::learning_rate(2e-3), hyperparameters::kBeta1, hyperparameters::kBeta2,
                    hyperparameters::epsilon(1e-8), hyperparameters::weight_decay(0.0), hyperparameters::kL2},
     .slots = {{.name = "first_moment"}, {.name = "largest", .never_negative = true}},
     .summary = "Adam with the largest magnitude of the gradients instead of their mean square.",
     .formula = "m = beta1 m + (1 - beta1) g; u = max(beta2 u, |g| + epsilon); "
                "p -= learning_rate / (1 - beta1^t) m / u"},
};
static_assert(is_in_order(kOptimizers));
inline constexpr int kOptimizerCount = static_cast<int>(std::size(kOptimizers));

constexpr const OptimizerEntry& entry_of(OptimizerKind kind) {
  return kOptimizers[static_cast<std::size_t>(kind)];
}

constexpr Optimizer::Optimizer(OptimizerKind kind_) : kind(kind_) {
  for (const Parameter<Optimizer>& parameter : entry_of(kind_).parameters)
    if (parameter.name != nullptr) this->*parameter.field = parameter.initial;
}

/// Throws std::invalid_argument, naming the hyperparameter, for values outside their range.
void validate(const Optimizer& optimizer);
/// The same, naming the factor.
void validate(const Factors& factors);

/// The slots of an optimizer, those that transforms keep (nncore/transforms.hpp), and the number of steps
/// made.
template <class T>
class OptimizerState {
 public:
  OptimizerState(const Optimizer& optimizer, std::int64_t parameter_count);

  std::int64_t steps = 0;

  OptimizerKind kind() const { return kind_; }
  std::int64_t parameter_count() const { return count_; }
  /// The names of all slots that there are.
  std::vector<std::string> slot_names() const;

  /// A slot for writing; null where there is none of that name. Whoever keeps the pointer calls this again
  /// before writing after a step, or borrows the slots as long as it is kept.
  T* slot(std::string_view name) {
    know(kUnknown);
    return const_cast<T*>(find(name));
  }
  const T* slot(std::string_view name) const { return find(name); }

  /// The slot that a transform keeps, made as a copy of `start` where it is not there yet.
  T* transform_slot(std::string_view name, const T* start);

  /// While somebody may write slots at any time.
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
  /// No element of a slot that may be negative is larger in magnitude, and all other slots are finite and not
  /// negative; infinity where that is not so. Looks at all of them where somebody else may have written them.
  double largest_moment();

  OptimizerKind kind_;
  std::int64_t count_;
  std::array<AlignedBuffer<T>, kMaxSlots> own_;  ///< in the order of the entry; empty where there is none
  std::vector<TransformSlot> of_transforms_;
  std::atomic<double> largest_ = 0.0;
  std::atomic<int> borrowers_ = 0;
};

/// As validate(optimizer), and for a state that was made for another kind, other slots or another number of
/// parameters.
template <class T>
void validate(const Optimizer& optimizer, const OptimizerState<T>& state, std::int64_t parameter_count);

/// One update of `count` parameters by the formula of the optimizer's entry; `step` counts from 1. `slots`
/// are in the order of the entry, null where there is none. An element of a slot that would be subnormal
/// becomes zero. Elementwise: any split of the arrays gives the same bits.
template <class T>
void optimizer_update(const Optimizer& optimizer, std::int64_t step, T* parameters, const T* gradients,
                      const std::array<T*, kMaxSlots>& slots, std::int64_t count,
                      double learning_rate_multiplier = 1.0, double weight_decay_multiplier = 1.0);

}  // namespace nncore
