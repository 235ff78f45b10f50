// Layer normalization (Ba et al. 2016): y = (x - mean) / sqrt(variance + epsilon) weight + bias, mean and
// variance of each row.
#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "nncore/runtime.hpp"
#include "operations/entry.hpp"

namespace nncore {
namespace {

constexpr std::int64_t kGrain = 1 << 14;  ///< elements that are too few to share among threads
constexpr int kLanes = 16;                ///< sums that go side by side; they are folded in halves

/// The sum of term(j) over `count` elements, in an order that follows from their number alone.
template <class Term>
double sum_over(std::int64_t count, Term term) {
  double lanes[kLanes] = {};
  std::int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += term(j + lane);
  for (int lane = 0; j < count; ++j, ++lane) lanes[lane] += term(j);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  return lanes[0];
}

class LayerNormOperation final : public OperationOf<LayerNormOperation> {
 public:
  LayerNormOperation(std::span<const int> segments, std::int64_t features, double epsilon)
      : segments_(segments.begin(), segments.end()), features_(features), epsilon_(epsilon) {}

  const char* kind() const override { return "layer_norm"; }
  std::span<const int> segments() const override { return segments_; }
  /// The mean of each row, and 1 / sqrt(variance + epsilon).
  std::int64_t saved_bytes(std::int64_t rows, std::int64_t, std::int64_t) const override {
    return 2 * rows * static_cast<std::int64_t>(sizeof(double));
  }
  std::int64_t scratch_bytes(std::int64_t, std::int64_t features) const override {
    return 2 * features * static_cast<std::int64_t>(sizeof(double));
  }
  std::int64_t out_features(std::span<const std::int64_t> in_features) const override {
    if (in_features[0] != features_)
      throw std::invalid_argument("must read " + std::to_string(features_) + " features; got " +
                                  std::to_string(in_features[0]));
    return features_;
  }
  void check_segments(std::span<const Segment> all) const override {
    for (const int index : segments_) {
      const Segment& segment = all[static_cast<std::size_t>(index)];
      if (segment.shape != std::vector{features_})
        throw std::invalid_argument("segment '" + segment.name + "' must have the shape (" +
                                    std::to_string(features_) + ",); got " + shape_text(segment));
    }
  }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    const Matrix<const T>& x = call.inputs[0];
    auto* const saved = reinterpret_cast<double*>(call.saved);
    const T *const weight = segment(call, 0), *const bias = segment(call, 1);
    for_rows(x.rows, [&](std::int64_t row) {
      const T* const from = &x(row, 0);
      T* const to = &call.output(row, 0);
      const auto count = static_cast<double>(features_);
      const double mean =
          sum_over(features_, [from](std::int64_t j) { return static_cast<double>(from[j]); }) / count;
      const auto square = [from, mean](std::int64_t j) {
        const double distance = static_cast<double>(from[j]) - mean;
        return distance * distance;
      };
      const double inverse = 1.0 / std::sqrt(sum_over(features_, square) / count + epsilon_);
      if (saved != nullptr) saved[2 * row] = mean, saved[2 * row + 1] = inverse;
      const T center = static_cast<T>(mean), scale = static_cast<T>(inverse);
      if (weight == nullptr)
        for (std::int64_t j = 0; j < features_; ++j) to[j] = (from[j] - center) * scale;
      else
        for (std::int64_t j = 0; j < features_; ++j) to[j] = (from[j] - center) * scale * weight[j] + bias[j];
    });
  }

  /// With h the normalized x and g' = g weight: the gradient of x is (g' - mean g' - h mean(g' h)) /
  /// sqrt(...).
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    const Matrix<const T>&x = call.inputs[0], &g = call.grad_output;
    const auto* const saved = reinterpret_cast<const double*>(call.saved);
    if (!segments_.empty()) sum_segments(call, saved);
    const Matrix<T>& grad = call.grad_inputs[0];
    if (grad.data == nullptr) return;
    const T* const weight = segment(call, 0);
    const bool adds = call.accumulate_input[0] != 0;
    for_rows(x.rows, [&](std::int64_t row) {
      const T *const from = &x(row, 0), *const above = &g(row, 0);
      T* const to = &grad(row, 0);
      const double mean = saved[2 * row], inverse = saved[2 * row + 1];
      const auto scaled = [=](std::int64_t j) {
        return static_cast<double>(above[j]) * (weight != nullptr ? static_cast<double>(weight[j]) : 1.0);
      };
      const auto normal = [=](std::int64_t j) { return (static_cast<double>(from[j]) - mean) * inverse; };
      const auto count = static_cast<double>(features_);
      const double mean_scaled = sum_over(features_, scaled) / count;
      const double product =
          sum_over(features_, [=](std::int64_t j) { return scaled(j) * normal(j); }) / count;
      for (std::int64_t j = 0; j < features_; ++j) {
        const T value = static_cast<T>(inverse * (scaled(j) - mean_scaled - normal(j) * product));
        to[j] = adds ? to[j] + value : value;
      }
    });
  }

 private:
  template <class T>
  const T* segment(const NodeCall<T>& call, std::size_t i) const {
    const Parameters<T>& parameters = *call.parameters;
    return segments_.empty() ? nullptr : parameters.value(segments_[i]).data;
  }

  template <class Body>
  void for_rows(std::int64_t rows, Body body) const {
    parallel_for(rows, std::max<std::int64_t>(1, kGrain / features_),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   for (std::int64_t row = begin; row < end; ++row) body(row);
                 });
  }

  /// Of weight the sum of g h over the rows, of bias that of g: on one thread, row by row.
  template <class T>
  void sum_segments(const NodeCall<T>& call, const double* saved) const {
    const Matrix<const T>&x = call.inputs[0], &g = call.grad_output;
    double *const products = reinterpret_cast<double*>(call.scratch.data), *const sums = products + features_;
    std::fill_n(products, 2 * features_, 0.0);
    for (std::int64_t row = 0; row < x.rows; ++row) {
      const T *const from = &x(row, 0), *const above = &g(row, 0);
      const double mean = saved[2 * row], inverse = saved[2 * row + 1];
      for (std::int64_t j = 0; j < features_; ++j) {
        const double gradient = static_cast<double>(above[j]);
        products[j] += gradient * ((static_cast<double>(from[j]) - mean) * inverse);
        sums[j] += gradient;
      }
    }
    for (std::size_t i = 0; i < 2; ++i) {
      T* const gradient = call.parameters->gradient(segments_[i]).data;
      const double* const sum = i == 0 ? products : sums;
      for (std::int64_t j = 0; j < features_; ++j)
        gradient[j] =
            call.accumulate_segment[i] != 0 ? gradient[j] + static_cast<T>(sum[j]) : static_cast<T>(sum[j]);
    }
  }

  std::vector<int> segments_;
  std::int64_t features_;
  double epsilon_;
};

std::shared_ptr<const Operation> make_layer_norm(const NodeArguments& given) {
  check_attributes(given.attributes, {"normalized_shape", "eps"});
  if (given.segments.size() != 2 && !given.segments.empty()) refuse_segments(given, "none or two");
  const double epsilon = number_attribute(given.attributes, "eps", 1e-5);
  check_parameter("eps", kPositive, epsilon);
  return std::make_shared<LayerNormOperation>(given.segments,
                                              size_attribute(given.attributes, "normalized_shape"), epsilon);
}

constexpr OperationEntry kEntries[] = {{"layer_norm", make_layer_norm, 1, 1}};

}  // namespace

namespace operations {
extern const OperationEntries layer_norm{kEntries};
}

}  // namespace nncore
