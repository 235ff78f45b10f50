// Losses and their gradients, one LossKernel for each kind: over elements, if they are independent, or over
// rows. Terms are computed in T and added in float64.
#pragma once

#include "elementary.hpp"
#include "elementwise.hpp"
#include "reduce.hpp"
#include "table.hpp"
#include "vec.hpp"

namespace {

using nncore::LossKind;
using nncore::kernels::ElementLossCall;
using nncore::kernels::RowLossCall;

/// An elementwise kind has at(a, y), or at(a, y, parameters) with the parameters in the order of its entry,
/// and kScale, which multiplies the sum of all terms. A kind by rows has rows(call, losses).
template <LossKind kind, class T>
struct LossKernel;

/// The loss l of some elements, in float64 and in the parts that widen gives, and dl/dprediction.
template <class T, class Terms>
struct ElementLoss {
  Terms terms;
  Vec<T> derivative;
};
template <class T, class Terms>
NNCORE_INLINE ElementLoss<T, Terms> element_loss(Terms terms, Vec<T> derivative) {
  return {terms, derivative};
}

/// (a - y)^2, or half of it if kSlope is 1.
template <class T, int kSlope>
struct SquaredError {
  static constexpr double kScale = 0.5 * kSlope;
  static NNCORE_INLINE auto at(Vec<T> a, Vec<T> y) {
    const Vec<T> difference = a - y;
    return element_loss<T>(
        [=](int part) __attribute__((always_inline)) {
          const Vec<double> wide = widen<T>(difference, part);
          return wide * wide;
        },
        T(kSlope) * difference);
  }
};

template <class T>
struct LossKernel<LossKind::half_squared_error, T> : SquaredError<T, 1> {};
template <class T>
struct LossKernel<LossKind::mean_squared_error, T> : SquaredError<T, 2> {};

/// -y log a. Where y is 0, nothing is added, unless a is NaN.
template <class T>
struct LossKernel<LossKind::cross_entropy, T> {
  static constexpr double kScale = 1;
  static NNCORE_INLINE auto at(Vec<T> a, Vec<T> y) {
    const Vec<T> nothing = a == a ? Vec<T>{} : a;
    const Vec<T> log_a = y == T(0) ? nothing : log<T>(a);
    return element_loss<T>(
        [=](int part) __attribute__((always_inline)) { return -widen<T>(y, part) * widen<T>(log_a, part); },
        y == T(0) ? nothing : -y / a);
  }
};

/// log(1 - a) to full precision: rounding 1 - a to b loses (1 - b) - a, which is computed exactly.
template <class T>
NNCORE_INLINE Vec<T> log_of_complement(Vec<T> a) {
  const Vec<T> b = T(1) - a;
  const Vec<T> lost = (T(1) - b) - a;
  return lost == T(0) ? log<T>(b) : log<T>(b) + lost / b;
}

/// -(y log a + (1 - y) log(1 - a)). A logarithm whose factor is 0 is left out, so that a may equal y at 0 and
/// 1. For these labels the fraction (a - y) / (a (1 - a)), the gradient, is reduced.
template <class T>
struct LossKernel<LossKind::binary_cross_entropy, T> {
  static constexpr double kScale = 1;
  static NNCORE_INLINE auto at(Vec<T> a, Vec<T> y) {
    const auto is_0 = y == T(0), is_1 = y == T(1);
    const Vec<T> log_a = is_0 ? Vec<T>{} : log<T>(a);
    const Vec<T> log_b = is_1 ? Vec<T>{} : log_of_complement<T>(a);
    const Vec<T> numerator = is_0 ? broadcast<T>(1) : is_1 ? broadcast<T>(-1) : a - y;
    const Vec<T> denominator = is_0 ? T(1) - a : is_1 ? a : a * (T(1) - a);
    return element_loss<T>(
        [=](int part) __attribute__((always_inline)) {
          return -widen<T>(y, part) * widen<T>(log_a, part) -
                 widen<T>(T(1) - y, part) * widen<T>(log_b, part);
        },
        numerator / denominator);
  }
};

/// max(z, 0) - z y + log1p(e^-|z|). The first two terms are |z| times the probability that the target gives
/// to the less likely side. The gradient's sigmoid uses the same power, and is within 2 ULP.
template <class T>
struct LossKernel<LossKind::sigmoid_cross_entropy, T> {
  static constexpr double kScale = 1;
  static NNCORE_INLINE auto at(Vec<T> z, Vec<T> y) {
    const auto positive = z > T(0);
    const Vec<T> abs_z = positive ? z : -z;
    const Vec<T> unlikely = positive ? T(1) - y : y;
    const Vec<T> distance = unlikely == T(0) ? Vec<T>{} : abs_z;
    const Vec<T> power = exp<T>(-abs_z);
    const Vec<T> rest = log1p<T>(power);
    const Vec<T> sigmoid = (positive ? broadcast<T>(1) : power) / (1 + power);
    return element_loss<T>(
        [=](int part) __attribute__((always_inline)) {
          return widen<T>(unlikely, part) * widen<T>(distance, part) + widen<T>(rest, part);
        },
        sigmoid - y);
  }
};

/// m (|d| - m / 2) with m = min(|d|, delta): both the square and the line. The gradient is m with d's sign.
template <class T>
struct LossKernel<LossKind::huber, T> {
  static constexpr double kScale = 1;
  static NNCORE_INLINE auto at(Vec<T> a, Vec<T> y, const Vec<T> (&parameters)[1]) {
    const Vec<T> difference = a - y;
    const Vec<T> size = magnitude<T>(difference);
    const Vec<T> most = min(parameters[0], size);  // NaN if the size is NaN
    return element_loss<T>(
        [=](int part) __attribute__((always_inline)) {
          const Vec<double> wide = widen<T>(most, part);
          return wide * (widen<T>(size, part) - 0.5 * wide);
        },
        with_sign_of<T>(difference, most));
  }
};

/// log(cosh(d)): near 0, where it is small, half of log(1 + sinh^2 d); beyond, |d| + log(1 + e^(-2 |d|)) -
/// log 2.
template <class T>
struct LossKernel<LossKind::log_cosh, T> {
  static constexpr double kScale = 1;
  static NNCORE_INLINE auto at(Vec<T> a, Vec<T> y) {
    const Vec<T> slope = tanh<T>(a - y), distance = magnitude<T>(a - y);
    const Vec<T> square = slope * slope / ((1 - slope) * (1 + slope));
    const auto near = distance < T(0.875);
    const Vec<T> rest = log1p<T>(near ? square : exp<T>(T(-2) * distance));
    const Vec<T> value = near ? T(0.5) * rest : distance + (rest - Format<T>::ln2);
    return element_loss<T>([=](int part) __attribute__((always_inline)) { return widen<T>(value, part); },
                           slope);
  }
};

/// |a - y|, whose gradient is 0 where a equals y.
template <class T>
struct LossKernel<LossKind::mean_absolute_error, T> {
  static constexpr double kScale = 1;
  static NNCORE_INLINE auto at(Vec<T> a, Vec<T> y) {
    const Vec<T> difference = a - y;
    const auto is_signed = (difference > T(0)) | (difference < T(0));
    return element_loss<T>(
        [=](int part) __attribute__((always_inline)) { return widen<T>(magnitude<T>(difference), part); },
        is_signed ? with_sign_of<T>(difference, broadcast<T>(1)) : difference);
  }
};

/// Any elementwise kind. Lanes that are not elements have weight 0; an element of weight 0 counts as 0 even
/// if it is not finite.
template <class T, LossKind kind>
double element_losses(const ElementLossCall<T>& callers_call) {
  using Loss = LossKernel<kind, T>;
  constexpr int parameter_count = static_cast<int>(nncore::parameter_count(nncore::entry_of(kind)));
  const ElementLossCall<T> call = callers_call;  // a local copy, which no store can change
  RowSum sum;
  for_each_span<T>(call.count, [&](auto span) __attribute__((always_inline)) {
    const auto loss = [&]() __attribute__((always_inline)) {
      if constexpr (parameter_count == 0) {
        return Loss::at(span.load(call.prediction), span.load(call.target));
      } else {
        Vec<T> parameters[parameter_count];
        for (int i = 0; i < parameter_count; ++i)
          parameters[i] = call.parameters_each[i] != nullptr ? span.load(call.parameters_each[i])
                                                             : broadcast<T>(call.parameters[i]);
        return Loss::at(span.load(call.prediction), span.load(call.target), parameters);
      }
    }();
    const bool weighted = call.weight != nullptr;
    const Vec<T> weight = weighted ? span.load(call.weight) : span.only(broadcast<T>(1), Vec<T>{});
    sum.add_wide(span, [&](int part) __attribute__((always_inline)) {
      const Vec<double> terms = loss.terms(part);
      if (span.whole && !weighted) return terms;
      const Vec<double> factor = widen<T>(weight, part);
      return factor == 0.0 ? Vec<double>{} : factor * terms;
    });
    if (call.gradient == nullptr) return;
    const Vec<T> derivative = weighted ? (weight == T(0) ? Vec<T>{} : loss.derivative) : loss.derivative;
    const Vec<T> scaled = derivative * (weight * call.coefficient);
    span.store(call.gradient, call.accumulate ? span.load(call.gradient) + scaled : scaled);
  });
  return Loss::kScale * sum.total();
}

/// The target of one sample: values, or the one-hot row of a label.
template <class T>
struct TargetRow {
  const T* values;
  int64_t label;

  template <bool kWhole, int kPart>
  NNCORE_INLINE Vec<T> load(Span<T, kWhole, kPart> span) const {
    if (values != nullptr) return span.load(values);
    const int64_t lane = label - span.first;
    const Int<T> hot = lane >= 0 && lane < kLanes<T> ? static_cast<Int<T>>(lane) : Int<T>(-1);
    return lane_numbers<T>() == broadcast_int<T>(hot) ? broadcast<T>(1) : Vec<T>{};
  }
};

/// Whether a row has weight 0: such a row counts as 0 even if it is not finite.
template <class T>
NNCORE_INLINE bool is_weightless(const RowLossCall<T>& call, int64_t row) {
  return call.weight != nullptr && call.weight[row] == T(0);
}

/// Writes the gradient of such a row.
template <class T>
NNCORE_INLINE void write_nothing(const RowLossCall<T>& call, int64_t row) {
  if (call.gradient.data == nullptr || call.accumulate) return;
  T* gradient = call.gradient.data + row * call.gradient.row_stride;
  for_each_span<T>(call.columns,
                   [&](auto span) __attribute__((always_inline)) { span.store(gradient, Vec<T>{}); });
}

/// For one row of logits: sum y (largest - z), sum y and sum e^(z - largest).
template <class T>
struct LogitSums {
  T largest;
  double distance, target, power;
};

/// Leaves the powers e^(z - largest) in the stash.
template <class T, bool kNarrow>
NNCORE_INLINE LogitSums<T> logit_sums(const T* logits, TargetRow<T> target, int64_t columns,
                                      Stash<T, kNarrow>& powers) {
  const T largest = row_max<T, kNarrow>(logits, columns);
  RowSum power;
  if (target.values == nullptr) {
    const double distance = static_cast<double>(largest) - static_cast<double>(logits[target.label]);
    for_each_span<T, kNarrow>(columns, [&](auto span) __attribute__((always_inline)) {
      const Vec<T> e = exp<T>(span.load(logits) - largest);
      powers.put(span, e);
      power.add(span, e);
    });
    return {largest, distance, 1.0, power.total()};
  }
  RowSum target_sum, distance;
  for_each_span<T, kNarrow>(columns, [&](auto span) __attribute__((always_inline)) {
    const Vec<T> z = span.load(logits);
    const Vec<T> y = target.load(span);
    const Vec<T> e = exp<T>(z - largest);
    powers.put(span, e);
    power.add(span, e);
    target_sum.add(span, y);
    const Vec<T> reached = y == T(0) ? broadcast<T>(largest) : z;
    distance.add_wide(span, [=](int part) __attribute__((always_inline)) {
      return widen<T>(y, part) * (static_cast<double>(largest) - widen<T>(reached, part));
    });
  });
  return {largest, distance.total(), target_sum.total(), power.total()};
}

/// The powers of a wide row are kept in the place of its gradient. If the gradient is accumulated, they are
/// computed again.
template <class T, bool kNarrow>
NNCORE_INLINE LogitSums<T> softmax_cross_entropy_row(const RowLossCall<T>& call, int64_t row) {
  if (is_weightless(call, row)) {
    write_nothing(call, row);
    return {T(0), 0.0, 0.0, 1.0};
  }
  const T* logits = call.prediction.data + row * call.prediction.row_stride;
  T* gradient = call.gradient.data != nullptr ? call.gradient.data + row * call.gradient.row_stride : nullptr;
  const TargetRow<T> target = call.labels != nullptr
                                  ? TargetRow<T>{nullptr, call.labels[row]}
                                  : TargetRow<T>{call.values.data + row * call.values.row_stride, 0};
  Stash<T, kNarrow> powers(call.accumulate ? nullptr : gradient);
  const LogitSums<T> sums = logit_sums<T, kNarrow>(logits, target, call.columns, powers);
  if (gradient != nullptr) {
    const T scale = static_cast<T>(sums.target / sums.power);
    const T coefficient = call.weight != nullptr ? call.weight[row] * call.coefficient : call.coefficient;
    for_each_span<T, kNarrow>(call.columns, [&](auto span) __attribute__((always_inline)) {
      const Vec<T> e = powers.kept() ? powers.get(span) : exp<T>(span.load(logits) - sums.largest);
      const Vec<T> scaled = (e * scale - target.load(span)) * coefficient;
      span.store(gradient, call.accumulate ? span.load(gradient) + scaled : scaled);
    });
  }
  return sums;
}

/// sum y (log sum e^z - z) and its gradient softmax(z) sum y - y. Only differences from the largest logit
/// occur, so that finite logits cannot overflow; a logit of -inf is a class that has been ruled out. The
/// logarithms of many rows are taken together.
template <class T>
struct LossKernel<LossKind::softmax_cross_entropy, T> {
  static void rows(const RowLossCall<T>& call, double* losses) {
    double distances[kRowBlock], targets[kRowBlock], powers[kRowBlock];
    for (int64_t first = 0; first < call.rows; first += kRowBlock) {
      const int64_t count = call.rows - first < kRowBlock ? call.rows - first : kRowBlock;
      for_each_row(count, call.columns, [&](int64_t row, auto narrow) __attribute__((always_inline)) {
        const auto sums = softmax_cross_entropy_row<T, decltype(narrow)::value>(call, first + row);
        distances[row] = sums.distance;
        targets[row] = sums.target;
        powers[row] = sums.power;
      });
      for_each_vector<double>(count, [&](auto load, auto store) __attribute__((always_inline)) {
        store(losses + first, load(distances) + load(targets) * log<double>(load(powers)));
      });
    }
  }
};

/// 1/2 sum (s + (m - y)^2 e^-s) over the means m and the log-variances s, which follow the means in the row.
/// The gradients, (m - y) e^-s and 1/2 (1 - (m - y)^2 e^-s), may replace both.
template <class T>
struct LossKernel<LossKind::gaussian_nll, T> {
  static void rows(const RowLossCall<T>& call, double* losses) {
    const int64_t width = call.columns / 2;
    for (int64_t row = 0; row < call.rows; ++row) {
      if (is_weightless(call, row)) {
        write_nothing(call, row);
        losses[row] = 0.0;
        continue;
      }
      const T* mean = call.prediction.data + row * call.prediction.row_stride;
      const T* target = call.values.data + row * call.values.row_stride;
      T* gradient =
          call.gradient.data != nullptr ? call.gradient.data + row * call.gradient.row_stride : nullptr;
      const T coefficient = call.weight != nullptr ? call.weight[row] * call.coefficient : call.coefficient;
      RowSum sum;
      for_each_span<T>(width, [&](auto span) __attribute__((always_inline)) {
        const Vec<T> log_variance = span.load(mean + width);
        const Vec<T> difference = span.load(mean) - span.load(target);
        const Vec<T> of_mean = difference * exp<T>(-log_variance);
        const Vec<T> square = difference * of_mean;
        sum.add(span, log_variance);
        sum.add(span, square);
        if (gradient == nullptr) return;
        const auto write = [&](T* to, Vec<T> derivative) __attribute__((always_inline)) {
          const Vec<T> scaled = derivative * coefficient;
          span.store(to, call.accumulate ? span.load(to) + scaled : scaled);
        };
        write(gradient, of_mean);
        write(gradient + width, T(0.5) - T(0.5) * square);
      });
      losses[row] = 0.5 * sum.total();
    }
  }
};

/// Adds the kernels of all kinds: a kind without a LossKernel does not compile.
template <class T, int i = 0>
constexpr void add_loss_kernels(nncore::kernels::Kernels<T>& k) {
  if constexpr (i < nncore::kLossCount) {
    constexpr auto kind = static_cast<LossKind>(i);
    if constexpr (nncore::entry_of(kind).by_row)
      k.row_loss[i] = LossKernel<kind, T>::rows;
    else
      k.element_loss[i] = element_losses<T, kind>;
    add_loss_kernels<T, i + 1>(k);
  }
}

}  // namespace
