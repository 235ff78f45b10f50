#include "nncore/losses.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "kernels/table.hpp"
#include "nncore/runtime.hpp"
#include "row_checks.hpp"

namespace nncore {
namespace {

struct Traits {
  const char* name;
  bool takes_labels;
  bool averages_columns;
};

/// In the order of Loss.
constexpr Traits kTraits[kLossCount] = {
    {"half_squared_error", false, false},   {"mean_squared_error", false, true},
    {"cross_entropy", true, false},         {"binary_cross_entropy", false, false},
    {"softmax_cross_entropy", true, false}, {"sigmoid_cross_entropy", false, false},
};

const Traits& traits(Loss loss) { return kTraits[static_cast<int>(loss)]; }

constexpr std::int64_t kGrain = 1 << 13;  ///< elements that are too few to share among threads
constexpr std::int64_t kBlock = 1024;     ///< samples whose losses are held before they are added in order

template <class T>
void check_target(Loss loss, Matrix<const T> prediction, Target<T> target) {
  if (target.labels == nullptr) {
    check_rows("target", target.values, "prediction", prediction);
    return;
  }
  if (!takes_labels(loss))
    throw std::invalid_argument(std::string("target is class labels; expected values of shape ") +
                                shape_text(prediction) + " for " + name(loss));
  for (std::int64_t row = 0; row < prediction.rows; ++row) {
    const std::int64_t label = target.labels[row];
    if (label < 0 || label >= prediction.columns)
      throw std::invalid_argument("target has label " + std::to_string(label) + " in row " +
                                  std::to_string(row) + "; expected 0 to " +
                                  std::to_string(prediction.columns - 1) + " for a prediction of shape " +
                                  shape_text(prediction));
  }
}

/// `scale` over the sum of the weights, as `mean` has it; 0 where there is no weight.
template <class T>
double over_total_weight(double scale, const T* sample_weight, std::int64_t count) {
  double total = sample_weight == nullptr ? static_cast<double>(count) : 0.0;
  for (std::int64_t i = 0; sample_weight != nullptr && i < count; ++i)
    total += static_cast<double>(sample_weight[i]);
  return total != 0.0 ? scale / total : 0.0;
}

}  // namespace

const char* name(Loss loss) { return traits(loss).name; }

bool takes_labels(Loss loss) { return traits(loss).takes_labels; }

template <class T>
double loss_and_gradient(Loss loss, Matrix<const T> prediction, Target<T> target, const T* sample_weight,
                         Reduction reduction, T* values, Matrix<T> gradient, double scale, bool accumulate) {
  const std::int64_t rows = prediction.rows;
  const std::int64_t columns = prediction.columns;
  check_rows("prediction", prediction, "prediction", prediction);
  if (gradient.data != nullptr) check_rows("gradient", gradient, "prediction", prediction);
  check_target(loss, prediction, target);
  if (rows == 0) return 0.0;
  if (columns == 0) throw std::invalid_argument("prediction has no columns; expected one or more");

  const FloatingPointMode mode;
  // What a sample of weight 1 counts for in `values`, and in the sum and the gradient.
  const double sample_scale = traits(loss).averages_columns ? scale / static_cast<double>(columns) : scale;
  const double sum_scale =
      reduction == Reduction::mean ? over_total_weight(sample_scale, sample_weight, rows) : sample_scale;
  const auto kernel = kernels::active<T>().loss_row[static_cast<int>(loss)];
  const auto weight = [=](std::int64_t row) {
    return sample_weight != nullptr ? static_cast<double>(sample_weight[row]) : 1.0;
  };

  double sum = 0.0;
  for (std::int64_t first = 0; first < rows; first += kBlock) {
    const std::int64_t count = std::min(kBlock, rows - first);
    double weighted[kBlock];
    parallel_for(
        count, std::max<std::int64_t>(1, kGrain / columns), [&](std::int64_t begin, std::int64_t end, int) {
          for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t row = first + i;
            const bool labelled = target.labels != nullptr;
            weighted[i] =
                weight(row) * kernel(&prediction(row, 0), labelled ? nullptr : &target.values(row, 0),
                                     labelled ? target.labels[row] : 0, columns,
                                     static_cast<T>(weight(row) * sum_scale),
                                     gradient.data != nullptr ? &gradient(row, 0) : nullptr, accumulate);
          }
        });
    for (std::int64_t i = 0; i < count; ++i) {
      sum += weighted[i];
      if (values != nullptr) values[first + i] = static_cast<T>(weighted[i] * sample_scale);
    }
  }
  return sum * sum_scale;
}

template double loss_and_gradient(Loss, Matrix<const float>, Target<float>, const float*, Reduction, float*,
                                  Matrix<float>, double, bool);
template double loss_and_gradient(Loss, Matrix<const double>, Target<double>, const double*, Reduction,
                                  double*, Matrix<double>, double, bool);

}  // namespace nncore
