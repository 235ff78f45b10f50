// Losses over one sample, and their gradients. A row's terms are computed in T and added in float64.
#pragma once

#include "elementary.hpp"
#include "elementwise.hpp"
#include "reduce.hpp"
#include "table.hpp"
#include "vec.hpp"

namespace {

/// The target of one sample: values, or the one-hot row of a label.
template <class T>
struct TargetRow {
  const T* values;
  int64_t label;

  template <bool kWhole>
  NNCORE_INLINE Vec<T> load(Span<T, kWhole> span) const {
    if (values != nullptr) return span.load(values);
    const int64_t lane = label - span.first;
    const Int<T> hot = lane >= 0 && lane < kLanes<T> ? static_cast<Int<T>>(lane) : Int<T>(-1);
    return lane_numbers<T>() == broadcast_int<T>(hot) ? broadcast<T>(1) : Vec<T>{};
  }
};

/// Where dl/dprediction goes: gradient[i] (+)= coefficient * dl/dprediction[i].
template <class T>
struct GradientRow {
  T coefficient;
  T* gradient;
  bool accumulate;

  NNCORE_INLINE explicit operator bool() const { return gradient != nullptr; }

  template <bool kWhole>
  NNCORE_INLINE void store(Span<T, kWhole> span, Vec<T> derivative) const {
    const Vec<T> scaled = derivative * coefficient;
    span.store(gradient, accumulate ? span.load(gradient) + scaled : scaled);
  }
};

/// sum (a - y)^2, whose gradient is kSlope / 2 of its own where the loss is half of it.
template <class T, int kSlope>
NNCORE_INLINE double squared_error(const T* prediction, TargetRow<T> target, int64_t count,
                                   GradientRow<T> gradient) {
  RowSum sum;
  for_each_span<T>(count, [&](auto span) __attribute__((always_inline)) {
    const Vec<T> difference = span.load(prediction) - target.load(span);
    sum.add_product(span, difference, difference);
    if (gradient) gradient.store(span, T(kSlope) * difference);
  });
  return sum.total();
}

template <class T>
NNCORE_INLINE double half_squared_error(const T* prediction, TargetRow<T> target, int64_t count,
                                        GradientRow<T> gradient) {
  return 0.5 * squared_error<T, 1>(prediction, target, count, gradient);
}

template <class T>
NNCORE_INLINE double summed_squared_error(const T* prediction, TargetRow<T> target, int64_t count,
                                          GradientRow<T> gradient) {
  return squared_error<T, 2>(prediction, target, count, gradient);
}

/// -sum y log a. Where y is 0 nothing is added, unless a is NaN.
template <class T>
NNCORE_INLINE double cross_entropy(const T* prediction, TargetRow<T> target, int64_t count,
                                   GradientRow<T> gradient) {
  RowSum sum;
  for_each_span<T>(count, [&](auto span) __attribute__((always_inline)) {
    const Vec<T> a = span.load(prediction);
    const Vec<T> y = target.load(span);
    const Vec<T> nothing = a == a ? Vec<T>{} : a;
    sum.add_product(span, y, y == T(0) ? nothing : log<T>(a));
    if (gradient) gradient.store(span, y == T(0) ? nothing : -y / a);
  });
  return 0.0 - sum.total();  // not -0
}

/// log(1 - a) to full precision: rounding 1 - a to b loses (1 - b) - a exactly.
template <class T>
NNCORE_INLINE Vec<T> log_of_complement(Vec<T> a) {
  const Vec<T> b = T(1) - a;
  const Vec<T> lost = (T(1) - b) - a;
  return lost == T(0) ? log<T>(b) : log<T>(b) + lost / b;
}

/// -sum (y log a + (1 - y) log(1 - a)). A logarithm whose factor is 0 is not there, so that a may be y
/// at 0 and at 1; the gradient (a - y) / (a (1 - a)) is reduced for those labels.
template <class T>
NNCORE_INLINE double binary_cross_entropy(const T* prediction, TargetRow<T> target, int64_t count,
                                          GradientRow<T> gradient) {
  RowSum sum;
  for_each_span<T>(count, [&](auto span) __attribute__((always_inline)) {
    const Vec<T> a = span.load(prediction);
    const Vec<T> y = target.load(span);
    const auto is_0 = y == T(0);
    const auto is_1 = y == T(1);
    sum.add_product(span, y, is_0 ? Vec<T>{} : log<T>(a));
    sum.add_product(span, T(1) - y, is_1 ? Vec<T>{} : log_of_complement<T>(a));
    if (gradient) {
      const Vec<T> numerator = is_0 ? broadcast<T>(1) : is_1 ? broadcast<T>(-1) : a - y;
      const Vec<T> denominator = is_0 ? T(1) - a : is_1 ? a : a * (T(1) - a);
      gradient.store(span, numerator / denominator);
    }
  });
  return 0.0 - sum.total();  // not -0
}

/// sum y (log sum e^z - z) and its gradient softmax(z) sum y - y. Only differences from the largest logit
/// occur, so that no finite logits overflow; a logit of -inf is a class that has been ruled out.
template <class T>
NNCORE_INLINE double softmax_cross_entropy(const T* logits, TargetRow<T> target, int64_t count,
                                           GradientRow<T> gradient) {
  const T largest = row_max(logits, count);
  RowSum exp_sum, target_sum, distance;
  for_each_span<T>(count, [&](auto span) __attribute__((always_inline)) {
    const Vec<T> z = span.load(logits);
    const Vec<T> y = target.load(span);
    exp_sum.add(span, exp<T>(z - largest));
    target_sum.add(span, y);
    const Vec<T> reached = y == T(0) ? broadcast<T>(largest) : z;
    distance.add_wide(span, [=](int part) __attribute__((always_inline)) {
      return widen<T>(y, part) * (static_cast<double>(largest) - widen<T>(reached, part));
    });
  });
  const double exp_total = exp_sum.total();
  const double target_total = target_sum.total();
  if (gradient) {
    const T scale = static_cast<T>(target_total / exp_total);
    for_each_span<T>(count, [&](auto span) __attribute__((always_inline)) {
      gradient.store(span, exp<T>(span.load(logits) - largest) * scale - target.load(span));
    });
  }
  return distance.total() + target_total * log_of(exp_total);
}

/// sum (max(z, 0) - z y + log1p(e^-|z|)): the first two terms are |z| times the probability that the
/// target gives to the less likely side.
template <class T>
NNCORE_INLINE double sigmoid_cross_entropy(const T* logits, TargetRow<T> target, int64_t count,
                                           GradientRow<T> gradient) {
  RowSum sum;
  for_each_span<T>(count, [&](auto span) __attribute__((always_inline)) {
    const Vec<T> z = span.load(logits);
    const Vec<T> y = target.load(span);
    const Vec<T> abs_z = z > T(0) ? z : -z;
    const Vec<T> unlikely = z > T(0) ? T(1) - y : y;
    sum.add_product(span, unlikely, unlikely == T(0) ? Vec<T>{} : abs_z);
    sum.add(span, log1p<T>(exp<T>(-abs_z)));
    if (gradient) gradient.store(span, sigmoid<T>(z) - y);
  });
  return sum.total();
}

/// F with the signature of the table.
template <class T, double (*F)(const T*, TargetRow<T>, int64_t, GradientRow<T>)>
double loss_row(const T* prediction, const T* values, int64_t label, int64_t count, T coefficient,
                T* gradient, bool accumulate) {
  return F(prediction, {values, label}, count, {coefficient, gradient, accumulate});
}

template <class T>
constexpr void add_loss_kernels(nncore::kernels::Kernels<T>& k) {
  using nncore::Loss;
  const auto row = [&k](Loss loss) -> auto& { return k.loss_row[static_cast<int>(loss)]; };
  row(Loss::half_squared_error) = loss_row<T, half_squared_error<T>>;
  row(Loss::mean_squared_error) = loss_row<T, summed_squared_error<T>>;
  row(Loss::cross_entropy) = loss_row<T, cross_entropy<T>>;
  row(Loss::binary_cross_entropy) = loss_row<T, binary_cross_entropy<T>>;
  row(Loss::softmax_cross_entropy) = loss_row<T, softmax_cross_entropy<T>>;
  row(Loss::sigmoid_cross_entropy) = loss_row<T, sigmoid_cross_entropy<T>>;
}

}  // namespace
