// Losses of every kind, for test_losses.cpp, and the formulas of some of them in long double.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "nncore/losses.hpp"
#include "numeric.hpp"

namespace losses {

using namespace numeric;
using nncore::entry_of;
using nncore::kLosses;
using nncore::Loss;
using nncore::LossEntry;
using nncore::LossKind;

inline const char* name(const Loss& loss) { return entry_of(loss.kind).name; }

inline bool takes_probabilities(const Loss& loss) { return entry_of(loss.kind).fused.has_value(); }

inline std::int64_t target_columns(const Loss& loss, std::int64_t columns) {
  return entry_of(loss.kind).target_features(columns, loss);
}

/// run(loss) for every kind that accepts this many output columns, with the parameters of its entry. Runs it
/// again, with another number for each column, if the entry has parameters that allow this.
template <class Run>
void for_each_loss(std::int64_t columns, Run run) {
  for (const LossEntry& entry : kLosses) {
    Loss loss(entry.kind);
    const std::int64_t width = target_columns(loss, columns);
    if (width == 0) continue;
    run(loss);
    bool has_vector = false;
    for (std::size_t i = 0; i < parameter_count(entry); ++i) {
      const auto& parameter = entry.parameters[i];
      if (!parameter.is_vector) continue;
      has_vector = true;
      auto& numbers = loss.*parameter.field;
      for (std::int64_t k = 0; k < width; ++k) {
        const double number = numbers.one * (1 + 0.25 * static_cast<double>(k % 3));
        numbers.each.push_back(parameter.range.contains(number) ? number : numbers.one);
      }
    }
    if (has_vector) run(loss);
  }
}

/// One sample's loss and gradient from the formulas, and how far a correct result may be from them: exp, log,
/// log1p and sigmoid may be 2 ULP off, every other operation half an ULP.
struct Expected {
  long double value = 0, value_tolerance = 0;
  std::vector<long double> gradient, gradient_tolerance;

  void add(long double term, long double roundings) {
    value += term;
    value_tolerance += std::fabs(term) * roundings;
  }
  void slope(long double derivative, long double tolerance) {
    gradient.push_back(derivative);
    gradient_tolerance.push_back(tolerance);
  }
};

template <class T>
Expected softmax_cross_entropy(const std::vector<T>& logits, const std::vector<T>& target) {
  const long double eps = kEpsilon<T>;
  const long double largest = *std::max_element(logits.begin(), logits.end());
  const long double smallest = *std::min_element(logits.begin(), logits.end());
  long double sum = 0, total = 0;
  for (const long double z : logits) sum += std::exp(z - largest);
  for (const long double y : target) total += y;
  const long double sum_error = eps * (largest - smallest + 4);
  Expected e;
  e.add(total * std::log(sum), 2 * kEpsilon<double>);
  e.value_tolerance += std::fabs(total) * sum_error;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const long double z = logits[i], y = target[i], a = std::exp(z - largest) / sum;
    e.add(y * (largest - z), 2 * kEpsilon<double>);
    e.slope(a * total - y,
            a * std::fabs(total) * (sum_error + eps * (largest - z + 4)) + eps * std::fabs(a * total - y));
  }
  return e;
}

template <class T>
Expected gaussian_nll(const std::vector<T>& prediction, const std::vector<T>& target) {
  const long double eps = kEpsilon<T>;
  const std::size_t width = target.size();
  Expected e;
  for (std::size_t i = 0; i < width; ++i) {
    const long double d = static_cast<long double>(prediction[i]) - target[i], s = prediction[width + i];
    e.add(s / 2, 0);
    e.add(d * d * std::exp(-s) / 2, 5 * eps);
    e.slope(d * std::exp(-s), 4 * eps * std::fabs(d * std::exp(-s)));
  }
  for (std::size_t i = 0; i < width; ++i) {
    const long double d = static_cast<long double>(prediction[i]) - target[i], s = prediction[width + i];
    e.slope((1 - d * d * std::exp(-s)) / 2, eps + 6 * eps * d * d * std::exp(-s));
  }
  for (const long double a : prediction) e.value_tolerance += std::fabs(a) * kEpsilon<double> * width;
  e.value_tolerance += e.value_tolerance * kEpsilon<double> * width;
  return e;
}

/// Returns nothing for kinds whose formulas are not here; tests/test_losses.py has those of all kinds.
template <class T>
std::optional<Expected> expected_row(const Loss& loss, const std::vector<T>& prediction,
                                     const std::vector<T>& target) {
  if (loss.kind == LossKind::softmax_cross_entropy) return softmax_cross_entropy(prediction, target);
  if (loss.kind == LossKind::gaussian_nll) return gaussian_nll(prediction, target);
  const long double eps = kEpsilon<T>, columns = static_cast<long double>(target.size());
  Expected e;
  for (std::size_t i = 0; i < target.size(); ++i) {
    const long double a = prediction[i], y = target[i];
    if (loss.kind == LossKind::half_squared_error) {
      e.add((a - y) * (a - y) / 2, 2 * eps);
      e.slope(a - y, eps * std::fabs(a - y));
    } else if (loss.kind == LossKind::mean_squared_error) {
      e.add((a - y) * (a - y) / columns, 2 * eps);
      e.slope(2 * (a - y) / columns, 2 * eps * std::fabs(a - y) / columns);
    } else if (loss.kind == LossKind::huber) {
      const long double delta = static_cast<T>(loss.delta.each.empty() ? loss.delta.one : loss.delta.each[i]);
      const long double d = std::fabs(a - y), m = std::min(d, delta), sign = a > y ? 1 : -1;
      e.add(m * (d - m / 2) / columns, 3 * eps);
      e.slope(sign * m / columns, eps * m / columns);
    } else if (loss.kind == LossKind::mean_absolute_error) {
      e.add(std::fabs(a - y) / columns, eps);
      e.slope((a > y ? 1 : a < y ? -1 : 0) / columns, 0);
    } else if (loss.kind == LossKind::cross_entropy) {
      if (y != 0) e.add(-y * std::log(a), 3 * eps);
      e.slope(y != 0 ? -y / a : 0, eps * std::fabs(y / a));
    } else if (loss.kind == LossKind::binary_cross_entropy) {
      if (y != 0) e.add(-y * std::log(a), 3 * eps);
      if (y != 1) e.add(-(1 - y) * std::log1p(-a), 4 * eps);
      const long double derivative = (a - y) / (a * (1 - a));
      e.slope(derivative, 3 * eps * std::fabs(derivative));
    } else if (loss.kind != LossKind::sigmoid_cross_entropy) {
      return std::nullopt;
    } else {
      const long double sigmoid = 1 / (1 + std::exp(-a));
      e.add(std::fabs(a) * (a > 0 ? 1 - y : y), 2 * eps);
      e.add(std::log1p(std::exp(-std::fabs(a))), 5 * eps);
      e.slope(sigmoid - y, 2 * eps * sigmoid + eps * std::fabs(sigmoid - y));
    }
  }
  e.value_tolerance += e.value * kEpsilon<double> * columns;
  return e;
}

}  // namespace losses
