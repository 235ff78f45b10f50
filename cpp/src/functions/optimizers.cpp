#include "functions/optimizers.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>

#include "functions/magnitude.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

struct Traits {
  const char* name;
  int moments;
  bool decays;
  bool is_descent;
};

/// In the order of OptimizerKind.
constexpr Traits kTraits[] = {
    {"sgd", 0, false, true},   {"momentum", 1, false, false}, {"nesterov", 1, false, false},
    {"adam", 2, false, false}, {"adamw", 2, true, false},
};
static_assert(std::size(kTraits) == kOptimizerKindCount);

const Traits& traits(OptimizerKind kind) { return kTraits[static_cast<int>(kind)]; }

constexpr std::int64_t kGrain = 1 << 15;  ///< parameters that are too few to share among threads

void check_field(const char* field, double value, bool allowed, const char* range) {
  if (allowed) return;
  std::ostringstream message;
  message << field << " is " << value << "; expected " << range;
  throw std::invalid_argument(message.str());
}

/// x^n by squaring: the C library's pow may differ between machines.
double power(double x, std::int64_t n) {
  double result = 1.0;
  for (; n > 0; n /= 2, x *= x) result *= n % 2 == 1 ? x : 1.0;  // a branch would often be mispredicted
  return result;
}

}  // namespace

const char* name(OptimizerKind kind) { return traits(kind).name; }

int moment_count(OptimizerKind kind) { return traits(kind).moments; }

template <class T>
OptimizerState<T>::OptimizerState(OptimizerKind kind, std::int64_t parameter_count)
    : first_(moment_count(kind) > 0 ? parameter_count : 0),
      second_(moment_count(kind) > 1 ? parameter_count : 0) {}

template <class T>
double OptimizerState<T>::largest_moment() {
  const double known = largest_.load(std::memory_order_relaxed);
  if (known != kUnknown && borrowers_.load() == 0) return known;
  const T *const first = first_.data(), *const second = second_.data();
  const double largest = largest_magnitude(first, first_.size());
  const bool is_sound = std::isfinite(largest) && std::isfinite(largest_magnitude(second, second_.size())) &&
                        std::all_of(second, second + second_.size(), [](T v) { return v >= T{0}; });
  return is_sound ? largest : kUnknown;
}

void validate(const Optimizer& o) {
  const auto check_finite = [](const char* field, double value) {
    check_field(field, value, std::isfinite(value) && value >= 0.0, "a finite number of at least 0");
  };
  const auto check_fraction = [](const char* field, double value) {
    check_field(field, value, value >= 0.0 && value < 1.0, "a number of at least 0 and less than 1");
  };
  check_finite("learning_rate", o.learning_rate);
  if (moment_count(o.kind) == 1) check_fraction("momentum", o.momentum);
  if (moment_count(o.kind) == 2) {
    check_fraction("beta1", o.beta1);
    check_fraction("beta2", o.beta2);
    check_field("epsilon", o.epsilon, std::isfinite(o.epsilon) && o.epsilon > 0.0,
                "a finite number greater than 0");
  }
  if (traits(o.kind).decays) check_finite("weight_decay", o.weight_decay);
}

template <class T>
void validate(const Optimizer& optimizer, const OptimizerState<T>& state, std::int64_t parameter_count) {
  validate(optimizer);
  const int moments = moment_count(optimizer.kind);
  const std::int64_t first = state.first_moment_size(), second = state.second_moment_size();
  if (first == (moments > 0 ? parameter_count : 0) && second == (moments > 1 ? parameter_count : 0)) return;
  throw std::invalid_argument("state has moments of " + std::to_string(first) + " and " +
                              std::to_string(second) + " elements; " + name(optimizer.kind) + " with " +
                              std::to_string(parameter_count) + " parameters needs " +
                              std::to_string(moments) + " of that many");
}

template <class T>
OptimizerStep<T>::OptimizerStep(const Optimizer& o, std::int64_t step) : optimizer(o) {
  const bool is_adam = moment_count(o.kind) == 2;
  correction1 = is_adam ? 1.0 - power(o.beta1, step) : 1.0;
  root_correction2 = is_adam ? std::sqrt(1.0 - power(o.beta2, step)) : 1.0;
}

template <class T>
bool OptimizerStep<T>::decays() const {
  return traits(optimizer.kind).decays;
}

template <class T>
bool OptimizerStep<T>::is_descent() const {
  return traits(optimizer.kind).is_descent;
}

template <class T>
kernels::UpdateScalars<T> OptimizerStep<T>::scalars(double learning_rate_multiplier, bool decay) const {
  const Optimizer& o = optimizer;
  const double learning_rate = o.learning_rate * learning_rate_multiplier;
  const bool applies_decay = decays() && decay;
  return {.learning_rate = static_cast<T>(learning_rate / correction1),
          .momentum = static_cast<T>(o.momentum),
          .beta1 = static_cast<T>(o.beta1),
          .beta2 = static_cast<T>(o.beta2),
          .one_minus_beta1 = static_cast<T>(1.0 - o.beta1),
          .one_minus_beta2 = static_cast<T>(1.0 - o.beta2),
          .inverse_root_correction2 = static_cast<T>(1.0 / root_correction2),
          .epsilon = std::max(static_cast<T>(o.epsilon), std::numeric_limits<T>::min()),  // 0 / 0 is NaN
          .decay_factor = static_cast<T>(applies_decay ? 1.0 - learning_rate * o.weight_decay : 1.0)};
}

template <class T>
double OptimizerStep<T>::safe_gradient(const kernels::UpdateScalars<T>& s, double moment) const {
  constexpr double kLargest = kHarmlessChange<T>;
  const double rate = std::abs(static_cast<double>(s.learning_rate));
  if (!(rate <= kLargest)) return 0.0;
  const double direction = rate > 1.0 ? kLargest / rate : kLargest;  // the largest that a step may follow
  switch (moment_count(optimizer.kind)) {
    case 0:
      return direction;
    case 1:  // |direction| <= 2 |g| + |m|, with or without the look-ahead
      return std::max(0.0, (direction - moment) / 2.0);
    default: {  // |direction| <= max(|m|, |g|) / epsilon; and the square must be finite too
      if (!(std::abs(s.decay_factor) <= T{1})) return 0.0;
      const double first = std::min(kLargest, direction * static_cast<double>(s.epsilon)) / 2.0;
      return moment <= first ? std::min(first, std::sqrt(kLargest)) : 0.0;
    }
  }
}

template <class T>
double OptimizerStep<T>::next_moment(double moment, double gradient) const {
  constexpr double kRounding = 1.0 + 1e-6;
  const Optimizer& o = optimizer;
  switch (moment_count(o.kind)) {
    case 0:
      return 0.0;
    case 1:
      return (o.momentum * moment + gradient) * kRounding;
    default:
      return (o.beta1 * moment + (1.0 - o.beta1) * gradient) * kRounding;
  }
}

template <class T>
void OptimizerStep<T>::update(const kernels::UpdateScalars<T>& scalars, T* parameters, const T* gradients,
                              T* first_moment, T* second_moment, std::int64_t count) const {
  const auto kernel = kernels::active<T>().update[static_cast<int>(optimizer.kind)];
  const auto at = [](T* moment, std::int64_t begin) { return moment != nullptr ? moment + begin : nullptr; };
  parallel_for(count, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    kernel(scalars, parameters + begin, gradients + begin, at(first_moment, begin), at(second_moment, begin),
           end - begin);
  });
}

template <class T>
void optimizer_update(const Optimizer& optimizer, std::int64_t step, T* parameters, const T* gradients,
                      T* first_moment, T* second_moment, std::int64_t count, double learning_rate_multiplier,
                      bool decay) {
  validate(optimizer);
  check_field("step", static_cast<double>(step), step >= 1, "a count of at least 1");
  const T* const moments[] = {first_moment, second_moment};
  for (int i = 0; i < moment_count(optimizer.kind); ++i)
    if (moments[i] == nullptr && count > 0)
      throw std::invalid_argument(std::string(i == 0 ? "first_moment" : "second_moment") +
                                  " is missing; expected an array as long as the parameters for " +
                                  name(optimizer.kind));

  const FloatingPointMode mode;
  const OptimizerStep<T> one(optimizer, step);
  one.update(one.scalars(learning_rate_multiplier, decay), parameters, gradients, first_moment, second_moment,
             count);
}

#define NNCORE_INSTANTIATE(T)                                                                                \
  template class OptimizerState<T>;                                                                          \
  template void validate(const Optimizer&, const OptimizerState<T>&, std::int64_t);                          \
  template struct OptimizerStep<T>;                                                                          \
  template void optimizer_update(const Optimizer&, std::int64_t, T*, const T*, T*, T*, std::int64_t, double, \
                                 bool);
NNCORE_INSTANTIATE(float)
NNCORE_INSTANTIATE(double)
#undef NNCORE_INSTANTIATE

}  // namespace nncore
