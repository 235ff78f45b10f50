#include "nncore/losses.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>

#include "functions/blocks.hpp"
#include "functions/element_checks.hpp"
#include "functions/reductions.hpp"
#include "functions/row_checks.hpp"
#include "kernels/table.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

/// Whether an entry has the form that the loops below rely on.
constexpr bool is_computable(const LossEntry& entry) {
  if (!entry.by_row) return entry.target_features == same_features;
  for (const auto& parameter : entry.parameters)
    if (parameter.is_vector) return false;
  return true;
}
constexpr bool are_computable() {
  for (const LossEntry& entry : kLosses)
    if (!is_computable(entry)) return false;
  return true;
}
static_assert(are_computable(),
              "the target of an elementwise loss must be as wide as the output; the parameters of a loss by "
              "row must be scalars");

constexpr std::int64_t kGrain = 1 << 13;  ///< up to this many elements stay on one thread
constexpr std::int64_t kChunk = 1024;     ///< elements per call of a kernel
constexpr std::int64_t kBlock = 1024;     ///< sums buffered before they are added

/// Sample weights divided by a unit. A mean takes the largest weight as the unit: the scale of the caller's
/// weights then cannot push numbers to the limits of T, and equal weights become 1 each, as without weights.
template <class T>
struct Weights {
  const T* given = nullptr;
  double unit = 1.0;

  static Weights relative(const T* given, std::int64_t count) {
    const T largest = given != nullptr && count > 0 ? *std::max_element(given, given + count) : T{0};
    return {given, largest > T{0} ? static_cast<double>(largest) : 1.0};
  }
  explicit operator bool() const { return given != nullptr; }
  T operator[](std::int64_t row) const { return static_cast<T>(static_cast<double>(given[row]) / unit); }
};

template <class T>
void check_target(const LossEntry& entry, std::int64_t target_features, Matrix<const T> prediction,
                  Target<T> target, const Weights<T>& weights) {
  const Matrix<const T> wanted(prediction.data, prediction.rows, target_features);
  if (target.labels == nullptr) {
    check_rows("target", target.values,
               target_features == prediction.columns ? "prediction" : "a target for this prediction", wanted);
    return;
  }
  if (!entry.takes_labels)
    throw invalid("target must be values of shape ", shape_text(wanted), " for ", entry.name,
                  "; got class labels");
  for (std::int64_t row = 0; row < prediction.rows; ++row) {
    const std::int64_t label = target.labels[row];
    const bool counts = !weights || weights.given[row] != T{0};
    if (counts && (label < 0 || label >= prediction.columns))
      throw invalid("target must hold labels from 0 to ", prediction.columns - 1,
                    " for a prediction of shape ", shape_text(prediction), "; got label ", label, " in row ",
                    row);
  }
}

/// The sum of relative weights, by which a mean divides.
template <class T>
double total_weight(const Weights<T>& weights, std::int64_t count) {
  double total = weights ? 0.0 : static_cast<double>(count);
  for (std::int64_t i = 0; weights && i < count; ++i) total += static_cast<double>(weights[i]);
  return total;
}

double sum_of(const double* terms, std::int64_t count) {
  return count == 1 ? terms[0] : sum_in_lanes(count, [terms](std::int64_t i) { return terms[i]; });
}

/// The arguments of loss_and_gradient, and values derived from them.
template <class T>
struct Request {
  const Loss& loss;
  const LossEntry& entry;
  T parameters[kernels::kMaxLossParameters];  ///< where they are scalars
  Matrix<const T> prediction;
  Target<T> target;
  Weights<T> weights;
  T* values;
  Matrix<T> gradient;
  T coefficient;  ///< a factor of the gradient
  bool accumulate;
};

/// A part of the matrix that a kernel takes as one contiguous run of at most kChunk elements.
struct Chunk {
  std::int64_t row, rows, column, columns;
};

template <class T>
bool is_one_run(Matrix<T> m, const Chunk& chunk) {
  return chunk.rows == 1 || (m.row_stride == m.columns && chunk.columns == m.columns);
}

/// A chunk's elements as one run: in place if they are contiguous, else copied to `copy`.
template <class T>
const T* as_one_run(Matrix<const T> m, const Chunk& chunk, T* copy) {
  if (is_one_run(m, chunk)) return &m(chunk.row, chunk.column);
  for (std::int64_t i = 0; i < chunk.rows; ++i)
    std::copy_n(&m(chunk.row + i, chunk.column), chunk.columns, copy + i * chunk.columns);
  return copy;
}

/// The same for the one-hot rows of labels.
template <class T>
const T* one_hot(const std::int64_t* labels, const Chunk& chunk, T* copy) {
  std::fill_n(copy, chunk.rows * chunk.columns, T{0});
  for (std::int64_t i = 0; i < chunk.rows; ++i) {
    const std::int64_t hot = labels[chunk.row + i] - chunk.column;
    if (hot >= 0 && hot < chunk.columns) copy[i * chunk.columns + hot] = 1;
  }
  return copy;
}

/// The values of a parameter with one number per column, for each element of a chunk.
template <class T>
const T* each_of(const std::vector<double>& numbers, const Chunk& chunk, T* copy) {
  for (std::int64_t i = 0; i < chunk.rows * chunk.columns; ++i)
    copy[i] = static_cast<T>(numbers[static_cast<std::size_t>(chunk.column + i % chunk.columns)]);
  return copy;
}

/// The sum of weight times loss over a chunk; writes the gradient too, if requested.
template <class T>
double chunk_loss(const Request<T>& request, const Chunk& chunk) {
  const auto kernel = kernels::active<T>().element_loss[static_cast<int>(request.loss.kind)];
  T prediction[kChunk], target[kChunk], weight[kChunk], gradient[kChunk];
  T each[kernels::kMaxLossParameters][kChunk];
  kernels::ElementLossCall<T> call{};
  for (std::size_t i = 0; i < parameter_count(request.entry); ++i) {
    call.parameters[i] = request.parameters[i];
    if (const auto& numbers = (request.loss.*request.entry.parameters[i].field).each; !numbers.empty())
      call.parameters_each[i] = each_of(numbers, chunk, each[i]);
  }
  call.count = chunk.rows * chunk.columns;
  call.coefficient = request.coefficient;
  call.accumulate = request.accumulate;
  call.prediction = as_one_run(request.prediction, chunk, prediction);
  call.target = request.target.labels != nullptr ? one_hot(request.target.labels, chunk, target)
                                                 : as_one_run(request.target.values, chunk, target);
  if (request.weights) {
    for (std::int64_t i = 0; i < chunk.rows; ++i)
      std::fill_n(weight + i * chunk.columns, chunk.columns, request.weights[chunk.row + i]);
    call.weight = weight;
  }
  const Matrix<T>& out = request.gradient;
  const bool has_gradient = out.data != nullptr, in_place = has_gradient && is_one_run(out, chunk);
  if (in_place) {
    call.gradient = &out(chunk.row, chunk.column);
  } else if (has_gradient) {
    if (request.accumulate) as_one_run<T>(out, chunk, gradient);
    call.gradient = gradient;
  }
  const double sum = kernel(call);
  for (std::int64_t i = 0; has_gradient && !in_place && i < chunk.rows; ++i)
    std::copy_n(gradient + i * chunk.columns, chunk.columns, &out(chunk.row + i, chunk.column));
  return sum;
}

/// Sums a loss of independent elements in chunks: several rows, one row (if `values` are requested), or a
/// part of one. The chunks, and so the order of every sum, depend only on the shape and on that request.
template <class T>
double sum_over_elements(const Request<T>& request, double value_scale) {
  const std::int64_t rows = request.prediction.rows, columns = request.prediction.columns;
  const std::int64_t width = std::min(columns, kChunk), chunks_in_row = divide_up(columns, width);
  const std::int64_t height = request.values != nullptr ? 1 : std::max<std::int64_t>(1, kChunk / columns);
  const std::int64_t chunks = divide_up(rows, height) * chunks_in_row;
  double sum = 0, row_sum = 0;
  for (std::int64_t first = 0; first < chunks; first += kBlock) {
    const std::int64_t count = std::min(kBlock, chunks - first);
    double sums[kBlock];
    for_rows(count, width * height, kGrain, [&](std::int64_t begin, std::int64_t here) {
      for (std::int64_t i = begin; i < begin + here; ++i) {
        const std::int64_t row = (first + i) / chunks_in_row * height;
        const std::int64_t column = (first + i) % chunks_in_row * width;
        sums[i] = chunk_loss<T>(
            request, {row, std::min(height, rows - row), column, std::min(width, columns - column)});
      }
    });
    sum += sum_of(sums, count);
    for (std::int64_t i = 0; request.values != nullptr && i < count; ++i) {
      const bool begins = (first + i) % chunks_in_row == 0, ends = (first + i + 1) % chunks_in_row == 0;
      row_sum = begins ? sums[i] : row_sum + sums[i];
      if (ends) request.values[(first + i) / chunks_in_row] = static_cast<T>(row_sum * value_scale);
    }
  }
  return sum;
}

template <class T>
double sum_over_rows(const Request<T>& request, double value_scale) {
  const std::int64_t rows = request.prediction.rows, columns = request.prediction.columns;
  const auto kernel = kernels::active<T>().row_loss[static_cast<int>(request.loss.kind)];
  double sum = 0;
  for (std::int64_t first = 0; first < rows; first += kBlock) {
    if (first > 0) check_interrupt();
    const std::int64_t count = std::min(kBlock, rows - first);
    double losses[kBlock];
    T weights[kBlock];
    for (std::int64_t i = 0; request.weights && i < count; ++i) weights[i] = request.weights[first + i];
    for_rows(count, columns, kGrain, [&](std::int64_t begin, std::int64_t here) {
      const std::int64_t row = first + begin;
      kernels::RowLossCall<T> call{};
      call.prediction = rows_at(request.prediction, row);
      call.values = rows_at(request.target.values, row);
      call.labels = request.target.labels != nullptr ? request.target.labels + row : nullptr;
      call.weight = request.weights ? weights + begin : nullptr;
      std::copy_n(request.parameters, kernels::kMaxLossParameters, call.parameters);
      call.rows = here;
      call.columns = columns;
      call.coefficient = request.coefficient;
      call.gradient = rows_at(request.gradient, row);
      call.accumulate = request.accumulate;
      kernel(call, losses + begin);
    });
    for (std::int64_t i = 0; i < count; ++i) {
      if (request.weights) losses[i] *= static_cast<double>(weights[i]);
      if (request.values != nullptr) request.values[first + i] = static_cast<T>(losses[i] * value_scale);
    }
    sum += sum_of(losses, count);
  }
  return sum;
}

}  // namespace

void validate(const Loss& loss) {
  const LossEntry& entry = entry_of(loss.kind);
  for (std::size_t i = 0; i < parameter_count(entry); ++i) {
    const auto& parameter = entry.parameters[i];
    const Numbers& numbers = loss.*parameter.field;
    for (const double number : numbers.each) check_parameter(parameter.name, parameter.range, number);
    if (numbers.each.empty())
      check_parameter(parameter.name, parameter.range, numbers.one);
    else if (!parameter.is_vector)
      throw invalid(parameter.name, " must be one number; got ", numbers.each.size(), " numbers");
  }
}

void validate(const Loss& loss, std::int64_t target_features) {
  validate(loss);
  const LossEntry& entry = entry_of(loss.kind);
  for (std::size_t i = 0; i < parameter_count(entry); ++i) {
    const auto& numbers = (loss.*entry.parameters[i].field).each;
    if (!numbers.empty() && std::ssize(numbers) != target_features)
      throw invalid(entry.parameters[i].name, " must be one number, or ", target_features,
                    " numbers, one for each column of the target; got ", numbers.size(), " numbers");
  }
}

std::int64_t target_width(const Loss& loss, const char* output, std::int64_t columns, std::int64_t least) {
  const LossEntry& entry = entry_of(loss.kind);
  const std::int64_t width = entry.target_features(columns, loss);
  if (columns >= least && width > 0) return width;
  throw invalid(output, " must have ", entry.outputs, ", for '", entry.name, "'; got shape (B, ", columns,
                ")", *entry.hint != '\0' ? "; " : "", entry.hint);
}

void check_target_values(LossKind kind, const char* argument, const Table& values, const std::int64_t* rows,
                         std::int64_t first, std::int64_t count) {
  const std::optional<Range>& range = entry_of(kind).targets;
  const auto refuse = [&](std::int64_t i, std::int64_t column, double value) {
    std::ostringstream message;
    message << argument << " must be " << (range ? range->text : "a number") << "; got " << value
            << " in row " << (rows != nullptr ? rows[i] : first + i) << ", column " << column;
    throw std::invalid_argument(message.str());
  };
  constexpr double kLargest = std::numeric_limits<double>::max();
  const double least =
      range ? std::max(-kLargest, range->has_low ? range->low : std::nextafter(range->low, kLargest)) : 0.0;
  const double largest =
      range ? std::min(kLargest, range->has_high ? range->high : std::nextafter(range->high, -kLargest))
            : 0.0;
  const auto check = [&]<class To>(To) {
    if (range)
      check_elements<To>(
          values, rows, first, count,
          [low = least, high = largest](To value) { return !(value >= low) | !(value <= high); }, refuse);
    else if (is_floating(values.type))
      check_elements<To>(values, rows, first, count, [](To value) { return std::isnan(value); }, refuse);
  };
  if (values.type == ScalarType::float32)
    check(float());
  else
    check(double());
}

bool check_sample_weight(const char* argument, const Table& weight, const std::int64_t* rows,
                         std::int64_t first, std::int64_t count) {
  bool is_any_positive = count == 0;
  const auto is_bad = [&is_any_positive](double value) {
    is_any_positive |= value > 0.0;
    return !(value >= 0.0) | std::isinf(value);
  };
  const auto refuse = [&](std::int64_t i, std::int64_t, double value) {
    throw invalid(argument, " must be finite and at least 0; got ", std::to_string(value), " in row ",
                  rows != nullptr ? rows[i] : first + i);
  };
  check_elements<double>(weight, rows, first, count, is_bad, refuse);
  return is_any_positive;
}

template <class T>
double loss_and_gradient(const Loss& loss, Matrix<const T> prediction, Target<T> target,
                         const T* sample_weight, Reduction reduction, T* values, Matrix<T> gradient,
                         double scale, bool accumulate) {
  const std::int64_t rows = prediction.rows;
  const std::int64_t columns = prediction.columns;
  const LossEntry& entry = entry_of(loss.kind);
  check_rows("prediction", prediction, "prediction", prediction);
  if (gradient.data != nullptr) check_rows("gradient", gradient, "prediction", prediction);
  const std::int64_t target_features = target_width(loss, "prediction", columns);
  check_target(entry, target_features, prediction, target, Weights<T>{sample_weight});
  validate(loss, target_features);
  if (rows == 0) return 0.0;

  const FloatingPointMode mode;
  // The factor of a sample of weight 1 in `values`, in the sum and in the gradient, before a mean divides it.
  const double sample_scale = entry.averages_columns ? scale / static_cast<double>(columns) : scale;
  const Weights<T> weights =
      reduction == Reduction::mean ? Weights<T>::relative(sample_weight, rows) : Weights<T>{sample_weight};
  const double value_scale = sample_scale * weights.unit;
  double sum_scale = sample_scale;
  if (reduction == Reduction::mean) {
    const double total = total_weight(weights, rows);
    sum_scale = total != 0.0 ? sample_scale / total : 0.0;
  }
  Request<T> request{
      loss, entry, {}, prediction, target, weights, values, gradient, static_cast<T>(sum_scale), accumulate};
  for (std::size_t i = 0; i < parameter_count(entry); ++i)
    request.parameters[i] = static_cast<T>((loss.*entry.parameters[i].field).one);
  const double sum =
      entry.by_row ? sum_over_rows(request, value_scale) : sum_over_elements(request, value_scale);
  return sum * sum_scale;
}

template double loss_and_gradient(const Loss&, Matrix<const float>, Target<float>, const float*, Reduction,
                                  float*, Matrix<float>, double, bool);
template double loss_and_gradient(const Loss&, Matrix<const double>, Target<double>, const double*, Reduction,
                                  double*, Matrix<double>, double, bool);

}  // namespace nncore
