// Losses and their gradients with respect to the prediction. A loss is an entry of kLosses and a kernel
// (cpp/src/kernels/losses.hpp); everything else that the library knows about it is derived from the entry.
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

/// The value of a parameter: one number, or one for each output.
struct Numbers {
  double one = 0.0;          ///< used for all outputs if `each` is empty
  std::vector<double> each;  ///< one number for each column of the target
  bool operator==(const Numbers&) const = default;
};

/// A loss: its kind and parameters. Parameters that the kind does not use are 0.
struct Loss {
  LossKind kind;
  Numbers delta{};  ///< of huber

  /// Sets the parameters to the defaults of the kind's entry.
  Loss(LossKind kind = LossKind::half_squared_error);  // NOLINT(google-explicit-constructor)
  bool operator==(const Loss&) const = default;
};

/// Which predictions the metric "accuracy" counts as correct.
enum class Accuracy {
  none,           ///< not specified by the loss; treated as largest_class
  largest_class,  ///< rows whose largest output is the true class
  probability,    ///< outputs on the same side of 0.5 as the target
  logit           ///< outputs on the side of 0 that the target stands for
};
/// The names of the enumerators of Accuracy, in their order.
inline constexpr const char* kAccuracyNames[] = {"none", "largest_class", "probability", "logit"};

/// A point where a derivative of an elementwise loss jumps: a - y = factor * parameter.
struct Kink {
  double factor = 0.0;
  Numbers Loss::* parameter = nullptr;  ///< null if the kink is at a - y = 0
};

/// The fused form of a loss on probabilities: the activation that must produce the probabilities, and the
/// loss that computes the same value from logits.
struct FusedForm {
  Activation activation;
  LossKind from_logits;
};

/// The target width of losses whose target is as wide as the output.
constexpr std::int64_t same_features(std::int64_t output_features, const Loss&) { return output_features; }

/// The target width of losses whose target is half as wide as the output; 0 if the output's width is odd.
constexpr std::int64_t half_features(std::int64_t output_features, const Loss&) {
  return output_features % 2 == 0 ? output_features / 2 : 0;
}

/// What the library knows about one loss.
struct LossEntry {
  LossKind kind;
  const char* name;             ///< used in C++, Python, files and documentation
  const char* class_name;       ///< the Python class
  const char* alias = nullptr;  ///< a second name
  Parameter<Loss, Numbers> parameters[2]{};

  // The target.
  bool takes_labels = false;  ///< whether the target may also be one class index per sample
  /// The width of the target for an output of a given width; 0 if the loss cannot take such an output.
  std::int64_t (*target_features)(std::int64_t output_features, const Loss&) = same_features;
  std::optional<Range> targets{};  ///< the valid target values; any number but NaN if empty

  // The output.
  std::int64_t least_outputs = 1;              ///< the smallest valid width
  const char* outputs = "one column or more";  ///< the valid widths, in words
  const char* hint = "";                       ///< advice for an output of another width
  std::optional<FusedForm> fused{};            ///< set for losses on probabilities

  // The computation.
  bool by_row = false;             ///< whether the loss of an element depends on the rest of its row
  bool averages_columns = false;   ///< whether the loss of a sample is a mean over outputs, not a sum
  std::optional<Kink> kinks[2]{};  ///< where the derivative jumps
  Accuracy accuracy = Accuracy::none;

  // Formulas for one sample: a is the prediction (z for logits), y the target, O the number of outputs.
  const char* value;
  const char* gradient;
  const char* summary;  ///< docstring of the Python class
};

/// The valid targets of binary losses.
inline constexpr Range kProbability{.low = 0.0, .high = 1.0, .text = "a number in [0, 1]"};

/// One entry for each kind, in the order of LossKind.
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
                     .meaning = "the error at which the loss changes from quadratic to linear",
                     .is_vector = true}},
     .averages_columns = true,
     .kinks = {Kink{-1.0, &Loss::delta}, Kink{1.0, &Loss::delta}},
     .value = "1/O sum_k (1/2 (a_k - y_k)^2 where |a_k - y_k| <= delta, else delta (|a_k - y_k| - delta/2))",
     .gradient = "1/O max(-delta, min(a - y, delta))",
     .summary =
         "The mean over outputs of a loss that is quadratic for errors up to delta and linear beyond,\n"
         "so that outliers count less (Huber 1964): y (B, O), or (B,) where O is 1."},
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
         "The negative log-likelihood of y under normal distributions, without its constant term, for a\n"
         "model with 2 K outputs: K means, then K log variances of any sign. y (B, K), or (B,) where K\n"
         "is 1."},
    {.kind = LossKind::log_cosh,
     .name = "log_cosh",
     .class_name = "LogCosh",
     .averages_columns = true,
     .value = "1/O sum_k log(cosh(a_k - y_k))",
     .gradient = "1/O tanh(a - y)",
     .summary = "The mean over outputs of log(cosh(a - y)), which is about (a - y)^2 / 2 for small errors\n"
                "and linear for large ones: y (B, O), or (B,) where O is 1."},
};
static_assert(is_in_order(kLosses));
inline constexpr int kLossCount = std::size(kLosses);

/// The entry of a kind.
constexpr const LossEntry& entry_of(LossKind kind) { return kLosses[static_cast<int>(kind)]; }

inline Loss::Loss(LossKind kind_) : kind(kind_) {
  const LossEntry& entry = entry_of(kind);
  for (std::size_t i = 0; i < parameter_count(entry); ++i)
    this->*entry.parameters[i].field = {entry.parameters[i].initial, {}};
}

/// Whether this loss takes logits and is the fused form of a loss on probabilities.
constexpr bool takes_logits(LossKind kind) {
  for (const LossEntry& entry : kLosses)
    if (entry.fused && entry.fused->from_logits == kind) return true;
  return false;
}

/// Throws std::invalid_argument, naming the parameter, if a parameter is out of range.
void validate(const Loss& loss);
/// Also throws if a vector parameter does not have one number for each of the target's columns.
void validate(const Loss& loss, std::int64_t target_features);

/// The width of the target for an output of `columns` columns. Throws std::invalid_argument if the loss
/// cannot take such an output or if it has fewer than `least` columns; `output` is what the message calls it.
std::int64_t target_width(const Loss& loss, const char* output, std::int64_t columns, std::int64_t least = 0);

/// How the losses of the samples are combined; see loss_and_gradient().
enum class Reduction { mean, sum, none };

/// Checks sample weights, a table of one column: `count` rows, those listed in `rows` or, if it is null,
/// those from `first` on. The rows must be in the table. Returns whether a weight is positive or `count` is
/// 0. Throws std::invalid_argument, naming the row, unless all weights are finite and at least 0; `argument`
/// is what the message calls the table.
bool check_sample_weight(const char* argument, const Table& weight, const std::int64_t* rows,
                         std::int64_t first, std::int64_t count);

/// Checks target values in the same rows. Throws std::invalid_argument, naming the row and column, unless all
/// are in the range of the loss's entry; without a range, any number but NaN is valid.
void check_target_values(LossKind kind, const char* argument, const Table& values, const std::int64_t* rows,
                         std::int64_t first, std::int64_t count);

/// The target of a prediction (B, O): values (B, target_features), or class indices (B) in [0, O).
template <class T>
struct Target {
  Matrix<const T> values;                ///< used if `labels` is null
  const std::int64_t* labels = nullptr;  ///< for losses with takes_labels
};

/// Returns the loss over a batch, accumulated in float64, and optionally computes its gradient.
///
/// With l the loss of one sample (see the entries) and w its weight (1 if sample_weight is null), `mean`
/// returns sum w l / sum w, and `sum` and `none` return sum w l. If `values` is not null, each sample's w l
/// is written there. If the weights sum to 0 (no samples, or all weights 0), the mean and its gradient are 0.
///
/// prediction: (B, O) with contiguous rows. sample_weight: (B) or null. values: (B) or null. gradient: (B, O)
/// with contiguous rows; may be the prediction itself; not computed if its data is null. `scale` multiplies
/// the value and the gradient, such as the weight of one loss among several. `accumulate` adds to the
/// gradient instead of replacing it. Throws std::invalid_argument if shapes do not fit, a label is out of
/// range, the loss takes no labels, or validate() throws.
template <class T>
double loss_and_gradient(const Loss& loss, Matrix<const T> prediction, Target<T> target,
                         const T* sample_weight, Reduction reduction, T* values, Matrix<T> gradient,
                         double scale = 1.0, bool accumulate = false);

}  // namespace nncore
