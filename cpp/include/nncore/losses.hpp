// Losses and their gradients with respect to the prediction.
#pragma once

#include <cstdint>

#include "nncore/dataset.hpp"
#include "nncore/matrix.hpp"

namespace nncore {

enum class Loss {
  half_squared_error,
  mean_squared_error,
  cross_entropy,
  binary_cross_entropy,
  softmax_cross_entropy,
  sigmoid_cross_entropy
};
inline constexpr int kLossCount = 6;

enum class Reduction { mean, sum, none };

/// The one name a loss has in C++, Python, files and docs: "softmax_cross_entropy", ...
const char* name(Loss loss);

/// True for the losses that take class indices: cross_entropy and softmax_cross_entropy.
bool takes_labels(Loss loss);

/// Throws std::invalid_argument unless the weights in the one column of a table are finite and not negative,
/// and not all zero, in `rows` (null: in `count` rows from `first` on), which are in the table.
void check_sample_weight(const Table& weight, const std::int64_t* rows, std::int64_t first,
                         std::int64_t count);

/// What a prediction (B, O) is compared with: values (B, O), or one class index in [0, O) a sample.
template <class T>
struct Target {
  Matrix<const T> values;
  const std::int64_t* labels = nullptr;
};

/// The loss over a batch, accumulated in float64, and optionally its gradient.
///
/// Per sample, l = 1/2 sum (a - y)^2 | 1/O sum (a - y)^2 | -sum y log a | -sum (y log a +
/// (1 - y) log(1 - a)) | the last two from logits. mean: sum w l / sum w, with w = 1 where
/// sample_weight is null; sum: sum w l; none: as sum, each sample's w l is written to values.
///
/// prediction (B, O), rows contiguous; sample_weight (B) or null; values (B) or null;
/// gradient (B, O), rows contiguous, may be the prediction itself, or its data null: not computed.
/// Where the weights sum to 0 (no samples, or all weights 0) the mean and its gradient are 0.
/// scale multiplies value and gradient (the weight of one loss among several); accumulate adds
/// to the gradient. Throws std::invalid_argument for shapes that differ, labels out of range, or
/// labels given to a loss that has none.
template <class T>
double loss_and_gradient(Loss loss, Matrix<const T> prediction, Target<T> target, const T* sample_weight,
                         Reduction reduction, T* values, Matrix<T> gradient, double scale = 1.0,
                         bool accumulate = false);

}  // namespace nncore
