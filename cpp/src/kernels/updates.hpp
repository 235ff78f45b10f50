// Optimizer updates of parameters p from gradients g, as the entries of nncore/optimizers.hpp define them.
// Every product and sum is rounded separately: the loops wait for memory, division and square root, so that
// sets without fused operations lose nothing.
//
// The rule of a kind gives the direction d of the step p -= learning_rate d, and what the slots keep. All
// kinds share weight decay and the loop over the arrays.
#pragma once

#include "elementary.hpp"
#include "table.hpp"
#include "vec.hpp"

namespace {

using nncore::Optimizer;
using nncore::OptimizerKind;
using nncore::kernels::UpdateCall;
using nncore::kernels::UpdateScalars;

/// Replaces subnormal numbers with zero. If the gradient of a parameter has become zero (a relu that is never
/// active), its moment shrinks until it is subnormal, and would stay there: the smallest subnormal times 0.9
/// rounds to itself. Every step would then take the processor's slow path, many times slower; see "Tuning
/// measurements" in docs/performance.md.
template <class T>
NNCORE_INLINE Vec<T> without_subnormals(Vec<T> v) {
  const T smallest = Format<T>::smallest_normal;
  return (v < smallest) & (v > -smallest) ? Vec<T>{} : v;
}

/// 1 - x^n for x in [0, 1), by squaring: the C library's pow may differ between machines. Powers from 2^-54
/// down round away; stopping early spares the many squarings of a late step, which end in subnormal numbers.
inline double one_minus_power(double x, int64_t n) {
  double result = 1.0;
  for (; n > 0; n /= 2, x *= x) {
    if (x < 0x1p-64) return 1.0;
    const double factors[2] = {1.0, x};
    result *= factors[n % 2];  // a branch would often be mispredicted
  }
  return 1.0 - result;
}

inline double root(double x) { return sqrt(broadcast<double>(x))[0]; }
inline double smaller(double a, double b) { return b < a ? b : a; }
inline double larger(double a, double b) { return b > a ? b : a; }

/// The epsilon that is added to a root. It must not round to 0 in T, since 0 / 0 is NaN.
template <class T>
T rounded_epsilon(const Optimizer& o) {
  const T epsilon = static_cast<T>(o.epsilon);
  return epsilon > Format<T>::smallest_normal ? epsilon : Format<T>::smallest_normal;
}

// The rules ------------------------------------------------------------------------------------------------
//
//   Numbers                  the numbers of a step, all T, computed in float64 and rounded once
//   numbers(o, step, rate)   may set `rate`, which is 1, to what divides the learning rate
//   kVariants, variant(o)    the loops, and the one that the hyperparameters select
//   direction<variant>(numbers, gradient, slots)
//
// and, if they are known, the bounds that make it unnecessary to try out a step before it is made:
//   safe_gradient(o, direction, moment, limit)   gradients of at most this magnitude surely make no direction
//       larger than `direction` and no slot infinite, if no slot that may be negative is larger than
//       `moment`; 0: no gradient is safe. A change of `limit` leaves any finite number of T finite, and
//       `direction` is at most `limit`
//   next_moment(o, moment, gradient)             the largest `moment` after such a step

template <OptimizerKind kind, class T>
struct UpdateRule;

template <class T>
struct UpdateRule<OptimizerKind::sgd, T> {
  struct Numbers {
    T momentum;
  };
  static Numbers numbers(const Optimizer& o, int64_t, double&) { return {static_cast<T>(o.momentum)}; }

  enum { plain, momentum, nesterov, kVariants };
  static int variant(const Optimizer& o) {
    return o.momentum == 0.0 ? plain : o.nesterov == 0.0 ? momentum : nesterov;
  }
  template <int kVariant, class Slots>
  static NNCORE_INLINE Vec<T> direction(const Numbers& s, Vec<T> gradient, Slots slots) {
    if constexpr (kVariant == plain) return gradient;
    const Vec<T> moment = without_subnormals<T>(s.momentum * slots.load(0) + gradient);
    slots.store(0, moment);
    return kVariant == nesterov ? gradient + s.momentum * moment : moment;
  }

  static double safe_gradient(const Optimizer& o, double direction, double moment, double) {
    if (o.momentum == 0.0) return direction;
    return larger(0.0, (direction - moment) / 2.0);  // |direction| <= 2 |g| + |m|, with or without nesterov
  }
  static double next_moment(const Optimizer& o, double moment, double gradient) {
    return o.momentum == 0.0 ? 0.0 : o.momentum * moment + gradient;
  }
};

template <class T>
struct UpdateRule<OptimizerKind::adam, T> {
  struct Numbers {
    T beta1, one_minus_beta1, beta2, one_minus_beta2, inverse_root_correction, epsilon;
  };
  static Numbers numbers(const Optimizer& o, int64_t step, double& rate_divisor) {
    rate_divisor = one_minus_power(o.beta1, step);
    return {static_cast<T>(o.beta1),
            static_cast<T>(1.0 - o.beta1),
            static_cast<T>(o.beta2),
            static_cast<T>(1.0 - o.beta2),
            static_cast<T>(1.0 / root(one_minus_power(o.beta2, step))),
            rounded_epsilon<T>(o)};
  }

  static constexpr int kVariants = 1;
  static int variant(const Optimizer&) { return 0; }
  template <int, class Slots>
  static NNCORE_INLINE Vec<T> direction(const Numbers& s, Vec<T> gradient, Slots slots) {
    const Vec<T> first = without_subnormals<T>(s.beta1 * slots.load(0) + s.one_minus_beta1 * gradient);
    const Vec<T> second =
        without_subnormals<T>(s.beta2 * slots.load(1) + s.one_minus_beta2 * gradient * gradient);
    const Vec<T> divisor = sqrt(second) * s.inverse_root_correction + s.epsilon;
    slots.store(0, first);
    slots.store(1, second);
    return first / divisor;
  }

  /// |direction| <= max(|m|, |g|) / epsilon, and the square must be finite.
  static double safe_gradient(const Optimizer& o, double direction, double moment, double limit) {
    const double first = smaller(limit, direction * o.epsilon) / 2.0;
    return moment <= first ? smaller(first, root(limit)) : 0.0;
  }
  static double next_moment(const Optimizer& o, double moment, double gradient) {
    return o.beta1 * moment + (1.0 - o.beta1) * gradient;
  }
};

template <class T>
struct UpdateRule<OptimizerKind::adamw, T> : UpdateRule<OptimizerKind::adam, T> {};

template <class T>
struct UpdateRule<OptimizerKind::rmsprop, T> {
  struct Numbers {
    T alpha, one_minus_alpha, epsilon, momentum;
  };
  static Numbers numbers(const Optimizer& o, int64_t, double&) {
    return {static_cast<T>(o.alpha), static_cast<T>(1.0 - o.alpha), rounded_epsilon<T>(o),
            static_cast<T>(o.momentum)};
  }

  static constexpr int kVariants = 4;
  static int variant(const Optimizer& o) { return (o.centered != 0.0 ? 1 : 0) + (o.momentum != 0.0 ? 2 : 0); }
  template <int kVariant, class Slots>
  static NNCORE_INLINE Vec<T> direction(const Numbers& s, Vec<T> gradient, Slots slots) {
    const Vec<T> square =
        without_subnormals<T>(s.alpha * slots.load(0) + s.one_minus_alpha * gradient * gradient);
    slots.store(0, square);
    Vec<T> spread = square;
    if constexpr (kVariant % 2 == 1) {
      const Vec<T> mean = without_subnormals<T>(s.alpha * slots.load(1) + s.one_minus_alpha * gradient);
      slots.store(1, mean);
      spread = square - mean * mean;
      spread = spread < T{0} ? Vec<T>{} : spread;  // negative by rounding; a NaN stays
    }
    const Vec<T> step = gradient / (sqrt(spread) + s.epsilon);
    if constexpr (kVariant < 2) return step;
    const Vec<T> moment = without_subnormals<T>(s.momentum * slots.load(2) + step);
    slots.store(2, moment);
    return moment;
  }

  /// |g / root| <= |g| / epsilon, to which the momentum adds, and the square must be finite.
  static double safe_gradient(const Optimizer& o, double direction, double moment, double limit) {
    const double step = larger(0.0, (direction - moment) / 2.0);
    return smaller(step * smaller(o.epsilon, 1.0), root(limit));
  }
  static double next_moment(const Optimizer& o, double moment, double gradient) {
    if (variant(o) == 0) return 0.0;
    return larger(o.alpha, o.momentum) * moment + gradient / smaller(o.epsilon, 1.0);
  }
};

template <class T>
struct UpdateRule<OptimizerKind::adagrad, T> {
  struct Numbers {
    T epsilon;
  };
  static Numbers numbers(const Optimizer& o, int64_t, double&) { return {rounded_epsilon<T>(o)}; }

  static constexpr int kVariants = 1;
  static int variant(const Optimizer&) { return 0; }
  template <int, class Slots>
  static NNCORE_INLINE Vec<T> direction(const Numbers& s, Vec<T> gradient, Slots slots) {
    const Vec<T> sum = without_subnormals<T>(slots.load(0) + gradient * gradient);
    slots.store(0, sum);
    return gradient / (sqrt(sum) + s.epsilon);
  }

  static double safe_gradient(const Optimizer& o, double direction, double, double limit) {
    return smaller(direction * o.epsilon / 2.0, root(limit));
  }
  static double next_moment(const Optimizer&, double, double) { return 0.0; }
};

template <class T>
struct UpdateRule<OptimizerKind::adamax, T> {
  struct Numbers {
    T beta1, one_minus_beta1, beta2, epsilon;
  };
  static Numbers numbers(const Optimizer& o, int64_t step, double& rate_divisor) {
    rate_divisor = one_minus_power(o.beta1, step);
    return {static_cast<T>(o.beta1), static_cast<T>(1.0 - o.beta1), static_cast<T>(o.beta2),
            rounded_epsilon<T>(o)};
  }

  static constexpr int kVariants = 1;
  static int variant(const Optimizer&) { return 0; }
  template <int, class Slots>
  static NNCORE_INLINE Vec<T> direction(const Numbers& s, Vec<T> gradient, Slots slots) {
    const Vec<T> first = without_subnormals<T>(s.beta1 * slots.load(0) + s.one_minus_beta1 * gradient);
    const Vec<T> slot = s.beta2 * slots.load(1);
    const Vec<T> kept = slot >= T{0} ? slot : slot - slot;  // NaN if the slot is NaN or -infinity
    const Vec<T> here = magnitude<T>(gradient) + s.epsilon;
    const Vec<T> largest = here > kept ? here : kept;
    slots.store(0, first);
    slots.store(1, largest);
    return first / largest;
  }

  static double safe_gradient(const Optimizer& o, double direction, double moment, double limit) {
    return UpdateRule<OptimizerKind::adam, T>::safe_gradient(o, direction, moment, limit);
  }
  static double next_moment(const Optimizer& o, double moment, double gradient) {
    return UpdateRule<OptimizerKind::adam, T>::next_moment(o, moment, gradient);
  }
};

// Shared by all kinds --------------------------------------------------------------------------------------

template <class Rule, class T>
void prepare_update(const Optimizer& o, int64_t step, UpdateScalars<T>& scalars) {
  scalars.rate_divisor = 1.0;
  const typename Rule::Numbers numbers = Rule::numbers(o, step, scalars.rate_divisor);
  static_assert(sizeof numbers <= sizeof scalars.numbers);
  __builtin_memcpy(scalars.numbers, &numbers, sizeof numbers);
  scalars.variant = Rule::variant(o);
}

/// One register of each slot.
template <class T, class Load, class Store>
struct SlotVectors {
  T* const* data;
  Load load_vector;
  Store store_vector;
  NNCORE_INLINE Vec<T> load(int slot) const { return load_vector(data[slot]); }
  NNCORE_INLINE void store(int slot, Vec<T> v) const { store_vector(data[slot], v); }
};

template <class Rule, class T, int kVariant, bool kDecays>
void update_all(const UpdateCall<T>& call) {
  typename Rule::Numbers numbers;
  __builtin_memcpy(&numbers, call.scalars.numbers, sizeof numbers);
  struct {
    T* data[nncore::kMaxSlots];
  } slots;
  for (int i = 0; i < nncore::kMaxSlots; ++i) slots.data[i] = call.slots[i];
  const auto body = [=, rate = call.scalars.learning_rate, factor = call.scalars.decay_factor,
                     l2 = call.scalars.l2, p = call.parameters,
                     g = call.gradients](auto load, auto store) __attribute__((always_inline)) {
    Vec<T> gradient = load(g), value = load(p);
    if constexpr (kDecays) {
      gradient = gradient + l2 * value;
      value = value * factor;
    }
    const SlotVectors<T, decltype(load), decltype(store)> vectors{slots.data, load, store};
    const Vec<T> direction = Rule::template direction<kVariant>(numbers, gradient, vectors);
    store(p, value - rate * direction);
  };
  for_each_vector<T>(call.count, body);
}

template <class Rule, class T, int kVariant = 0>
void update(const UpdateCall<T>& call) {
  if constexpr (kVariant < static_cast<int>(Rule::kVariants)) {
    if (call.scalars.variant != kVariant) return update<Rule, T, kVariant + 1>(call);
    if (call.scalars.decay_factor != T{1} || call.scalars.l2 != T{0})
      update_all<Rule, T, kVariant, true>(call);
    else
      update_all<Rule, T, kVariant, false>(call);
  }
}

template <class T, int kKind = 0>
constexpr void add_update_kernels(nncore::kernels::Kernels<T>& k) {
  if constexpr (kKind < nncore::kOptimizerCount) {
    using Rule = UpdateRule<static_cast<OptimizerKind>(kKind), T>;
    auto& kernel = k.update[kKind];
    kernel.prepare = prepare_update<Rule, T>;
    kernel.run = update<Rule, T>;
    if constexpr (requires { Rule::safe_gradient; }) {
      kernel.safe_gradient = Rule::safe_gradient;
      kernel.next_moment = Rule::next_moment;
    }
    add_update_kernels<T, kKind + 1>(k);
  }
}

}  // namespace
