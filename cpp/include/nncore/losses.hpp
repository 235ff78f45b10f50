// Losses and their gradients with respect to the prediction. A loss is an entry of kLosses and a kernel
// (cpp/src/kernels/losses.hpp); whatever else the library knows of it follows from the entry.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "nncore/activations.hpp"
#include "nncore/dataset.hpp"
#include "nncore/entries.hpp"
#include "nncore/matrix.hpp"

namespace nncore {

enum class LossKind {
  half_squared_error,
  mean_squared_error,
  cross_entropy,
  binary_cross_entropy,
  softmax_cross_entropy,
  sigmoid_cross_entropy,
  huber,
  mean_absolute_error,
  gaussian_nll,
  log_cosh
};

/// A parameter: one number, or one for each output.
struct Numbers {
  double one = 0.0;
  std::vector<double> each;  ///< empty: `one` for all outputs
  bool operator==(const Numbers&) const = default;
};

/// What to compute: a kind and its parameters. Those that the kind does not use stay 0.
struct Loss {
  LossKind kind;
  Numbers delta{};

  /// With the parameters that the entry says.
  Loss(LossKind kind = LossKind::half_squared_error);  // NOLINT(google-explicit-constructor)
  bool operator==(const Loss&) const = default;
};

/// Which predictions a metric called "accuracy" counts as right.
enum class Accuracy {
  none,           ///< the loss does not say: as largest_class
  largest_class,  ///< rows whose largest output is at the true class
  probability,    ///< outputs on the true side of 0.5
  logit           ///< outputs on the true side of 0
};
inline constexpr const char* kAccuracyNames[] = {"none", "largest_class", "probability", "logit"};

/// A place where a derivative of an elementwise loss jumps: a - y = factor times a parameter.
struct Kink {
  double factor = 0.0;
  Numbers Loss::* parameter = nullptr;  ///< null: the kink is at 0
};

/// For a loss on probabilities: the activation that must make them, and the same loss from logits.
struct FusedForm {
  Activation activation;
  LossKind from_logits;
};

/// The width of a target that is as wide as the output.
constexpr std::int64_t same_features(std::int64_t output_features, const Loss&) { return output_features; }

/// Of one that is half as wide.
constexpr std::int64_t half_features(std::int64_t output_features, const Loss&) {
  return output_features % 2 == 0 ? output_features / 2 : 0;
}

struct LossEntry {
  LossKind kind;
  const char* name;  ///< in C++, Python, files and docs
  const char* class_name;
  const char* alias = nullptr;  ///< another name under which it is found
  Parameter<Loss, Numbers> parameters[2]{};

  // The target.
  bool takes_labels = false;  ///< values, or one class index a sample
  /// Of the values, from the output's; 0 where no target goes with such an output.
  std::int64_t (*target_features)(std::int64_t output_features, const Loss&) = same_features;
  std::optional<Range> targets{};  ///< of the values; none: any number but NaN

  // The output.
  std::int64_t least_outputs = 1;
  const char* outputs = "one column or more";  ///< the numbers of columns that it may have
  const char* hint = "";                       ///< what to do where it has others
  std::optional<FusedForm> fused{};            ///< of a loss on probabilities

  // The computation.
  bool by_row = false;  ///< what is said of an element depends on others of its row
  bool averages_columns = false;
  std::optional<Kink> kinks[2]{};
  Accuracy accuracy = Accuracy::none;

  // Of one sample; a is the prediction (z where it holds logits), y the target, O the number of outputs.
  const char* value;
  const char* gradient;
  const char* summary;  ///< the docstring of Python's class
};

inline constexpr Range kProbability{.low = 0.0, .high = 1.0, .text = "a number in [0, 1]"};

inline constexpr LossEntry kLosses[] = {
    {.kind = LossKind::half_squared_error,
     .name = "half_squared_error",
     .class_name = "HalfSquaredError",
     .value = "1/2 sum_k (a_k - y_k)^2",
     .gradient = "a - y",
     .summary = "Half the sum over outputs of (a - y)^2: y (B, O), or (B,) where O is 1."},
    {.kind = LossKind::mean_squared_error,
     .name = "mean_squared_error",
     .class_name = "MeanSquaredError",
     .alias = "mse",
     .averages_columns = true,
     .value = "1/O sum_k (a_k - y_k)^2",
     .gradient = "2/O (a - y)",
     .summary = "The mean over outputs of (a - y)^2: y (B, O), or (B,) where O is 1."},
    {.kind = LossKind::cross_entropy,
     .name = "cross_entropy",
     .class_name = "CrossEntropy",
     .takes_labels = true,
     .fused = FusedForm{ActivationKind::softmax, LossKind::softmax_cross_entropy},
     .accuracy = Accuracy::largest_class,
     .value = "-sum_k y_k log a_k, from probabilities; y_k = 0 adds 0",
     .gradient = "-y / a",
     .summary =
         "-sum of y log a, for a model that ends in Softmax: it trains on the logits and predicts\n"
         "probabilities. y: class indices (B,) or (B, 1) of any integer dtype, or one-hot or soft labels\n"
         "(B, O)."},
    {.kind = LossKind::binary_cross_entropy,
     .name = "binary_cross_entropy",
     .class_name = "BinaryCrossEntropy",
     .alias = "bce",
     .targets = kProbability,
     .fused = FusedForm{ActivationKind::sigmoid, LossKind::sigmoid_cross_entropy},
     .accuracy = Accuracy::probability,
     .value = "-sum_k (y_k log a_k + (1 - y_k) log(1 - a_k)), from probabilities",
     .gradient = "(1 - y) / (1 - a) - y / a",
     .summary =
         "-sum of y log a + (1 - y) log(1 - a), for a model that ends in Sigmoid: it trains on the logits\n"
         "and predicts probabilities. y (B, O) in [0, 1], or (B,) where O is 1."},
    {.kind = LossKind::softmax_cross_entropy,
     .name = "softmax_cross_entropy",
     .class_name = "SoftmaxCrossEntropy",
     .takes_labels = true,
     .least_outputs = 2,
     .outputs = "two columns or more, as the loss is 0 for one",
     .hint = "for two classes with one output, use 'sigmoid_cross_entropy', or end the model in 'sigmoid' "
             "and use 'binary_cross_entropy'",
     .by_row = true,
     .accuracy = Accuracy::largest_class,
     .value = "-sum_k y_k log p_k with p = softmax(z), from logits",
     .gradient = "p sum_k y_k - y",
     .summary =
         "Cross-entropy of the softmax of logits, for a model that ends in a Dense layer and predicts\n"
         "logits. y as for CrossEntropy."},
    {.kind = LossKind::sigmoid_cross_entropy,
     .name = "sigmoid_cross_entropy",
     .class_name = "SigmoidCrossEntropy",
     .targets = kProbability,
     .accuracy = Accuracy::logit,
     .value = "sum_k (max(z_k, 0) - z_k y_k + log(1 + exp(-|z_k|))), from logits",
     .gradient = "sigmoid(z) - y",
     .summary = "Binary cross-entropy of the sigmoid of logits, for a model that ends in a Dense layer and\n"
                "predicts logits. y as for BinaryCrossEntropy."},
    {.kind = LossKind::huber,
     .name = "huber",
     .class_name = "Huber",
     .parameters = {{.name = "delta",
                     .field = &Loss::delta,
                     .initial = 1.0,
                     .range = kPositive,
                     .meaning = "the distance from the target at which the square becomes a straight line",
                     .is_vector = true}},
     .averages_columns = true,
     .kinks = {Kink{-1.0, &Loss::delta}, Kink{1.0, &Loss::delta}},
     .value = "1/O sum_k (1/2 (a_k - y_k)^2 where |a_k - y_k| <= delta, else delta (|a_k - y_k| - delta/2))",
     .gradient = "1/O max(-delta, min(a - y, delta))",
     .summary =
         "The mean over outputs of a half square near the target and a straight line farther than delta\n"
         "from it, which outliers pull less: y (B, O), or (B,) where O is 1."},
    {.kind = LossKind::mean_absolute_error,
     .name = "mean_absolute_error",
     .class_name = "MeanAbsoluteError",
     .alias = "mae",
     .averages_columns = true,
     .kinks = {Kink{}},
     .value = "1/O sum_k |a_k - y_k|",
     .gradient = "1/O sign(a - y), 0 where a = y",
     .summary = "The mean over outputs of |a - y|: y (B, O), or (B,) where O is 1."},
    {.kind = LossKind::gaussian_nll,
     .name = "gaussian_nll",
     .class_name = "GaussianNLL",
     .target_features = half_features,
     .least_outputs = 2,
     .outputs = "an even number of columns: the means, then the logarithms of the variances",
     .by_row = true,
     .value =
         "1/2 sum_k (s_k + (m_k - y_k)^2 exp(-s_k)) with a = (m, s): the means m, then s = log variances",
     .gradient = "(m - y) exp(-s), then 1/2 (1 - (m - y)^2 exp(-s))",
     .summary =
         "The negative log-likelihood of y under normal distributions, without its constant, for a model\n"
         "with 2 K outputs: K means, then K logarithms of variances, which may be any numbers. y (B, K), or\n"
         "(B,) where K is 1."},
    {.kind = LossKind::log_cosh,
     .name = "log_cosh",
     .class_name = "LogCosh",
     .averages_columns = true,
     .value = "1/O sum_k log(cosh(a_k - y_k))",
     .gradient = "1/O tanh(a - y)",
     .summary =
         "The mean over outputs of log(cosh(a - y)), which is a half square near the target and a straight\n"
         "line far from it: y (B, O), or (B,) where O is 1."},
};
static_assert(is_in_order(kLosses));
inline constexpr int kLossCount = std::size(kLosses);

constexpr const LossEntry& entry_of(LossKind kind) { return kLosses[static_cast<int>(kind)]; }

inline Loss::Loss(LossKind kind_) : kind(kind_) {
  const LossEntry& entry = entry_of(kind);
  for (std::size_t i = 0; i < parameter_count(entry); ++i)
    this->*entry.parameters[i].field = {entry.parameters[i].initial, {}};
}

/// Whether another loss, on probabilities, is computed as this one from logits.
constexpr bool takes_logits(LossKind kind) {
  for (const LossEntry& entry : kLosses)
    if (entry.fused && entry.fused->from_logits == kind) return true;
  return false;
}

/// Throws std::invalid_argument, naming the parameter, for values outside their range.
void validate(const Loss& loss);
/// The same for so many numbers that they are not one for each of the target's columns.
void validate(const Loss& loss, std::int64_t target_features);

/// The width of the target that goes with an output of so many columns. Throws std::invalid_argument, which
/// calls the output as told, where the loss takes no such output, or it has fewer than `least` columns.
std::int64_t target_width(const Loss& loss, const char* output, std::int64_t columns, std::int64_t least = 0);

enum class Reduction { mean, sum, none };

/// Whether one of the weights in the one column of a table is positive, in `rows` (null: in `count` rows from
/// `first` on), which are in the table, or there are none. Throws std::invalid_argument, naming the row and
/// calling the table `argument`, unless all are finite and not negative.
bool check_sample_weight(const char* argument, const Table& weight, const std::int64_t* rows,
                         std::int64_t first, std::int64_t count);

/// The same for values that the loss may be compared with: no NaN, and in the range that its entry says.
/// `argument` is what messages call the table.
void check_target_values(LossKind kind, const char* argument, const Table& values, const std::int64_t* rows,
                         std::int64_t first, std::int64_t count);

/// What a prediction (B, O) is compared with: values (B, target_features), or one class index in [0, O) a
/// sample.
template <class T>
struct Target {
  Matrix<const T> values;
  const std::int64_t* labels = nullptr;
};

/// The loss over a batch, accumulated in float64, and optionally its gradient. Entries say what the loss l of
/// one sample is. mean: sum w l / sum w, with w = 1 where sample_weight is null; sum: sum w l; none: as sum,
/// each sample's w l is written to values.
///
/// prediction (B, O), rows contiguous; sample_weight (B) or null; values (B) or null;
/// gradient (B, O), rows contiguous, may be the prediction itself, or its data null: not computed.
/// Where the weights sum to 0 (no samples, or all weights 0) the mean and its gradient are 0.
/// scale multiplies value and gradient (the weight of one loss among several); accumulate adds
/// to the gradient. Throws std::invalid_argument for shapes that differ, labels out of range, labels given
/// to a loss that has none, or parameters as validate does.
template <class T>
double loss_and_gradient(const Loss& loss, Matrix<const T> prediction, Target<T> target,
                         const T* sample_weight, Reduction reduction, T* values, Matrix<T> gradient,
                         double scale = 1.0, bool accumulate = false);

}  // namespace nncore
