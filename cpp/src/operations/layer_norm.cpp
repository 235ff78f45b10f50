// Layer normalization (Ba et al. 2016): y = (x - mean) / sqrt(variance + epsilon) weight + bias, with the
// mean and variance of each row.
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "functions/blocks.hpp"
#include "functions/reductions.hpp"
#include "operations/entry.hpp"

namespace nncore {
namespace {

constexpr std::int64_t kGrain = 1 << 14;  ///< up to this many elements stay on one thread

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
    return check_width(in_features, features_);
  }
  void check_segments(std::span<const Segment> all) const override {
    for (const int index : segments_) check_segment(all, index, {features_});
  }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    const Matrix<const T>& x = call.inputs[0];
    auto* const saved = reinterpret_cast<double*>(call.saved);
    const T *const weight = segment(call, 0), *const bias = segment(call, 1);
    for_each_row(x.rows, [&](std::int64_t row) {
      const T* const from = &x(row, 0);
      T* const to = &call.output(row, 0);
      const auto count = static_cast<double>(features_);
      const double mean =
          sum_in_lanes(features_, [from](std::int64_t j) { return static_cast<double>(from[j]); }) / count;
      const auto square = [from, mean](std::int64_t j) {
        const double distance = static_cast<double>(from[j]) - mean;
        return distance * distance;
      };
      const double inverse = 1.0 / std::sqrt(sum_in_lanes(features_, square) / count + epsilon_);
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
    for_each_row(x.rows, [&](std::int64_t row) {
      const T *const from = &x(row, 0), *const above = &g(row, 0);
      T* const to = &grad(row, 0);
      const double mean = saved[2 * row], inverse = saved[2 * row + 1];
      const auto scaled = [=](std::int64_t j) {
        return static_cast<double>(above[j]) * (weight != nullptr ? static_cast<double>(weight[j]) : 1.0);
      };
      const auto normal = [=](std::int64_t j) { return (static_cast<double>(from[j]) - mean) * inverse; };
      const auto count = static_cast<double>(features_);
      const double mean_scaled = sum_in_lanes(features_, scaled) / count;
      const double product =
          sum_in_lanes(features_, [=](std::int64_t j) { return scaled(j) * normal(j); }) / count;
      for (std::int64_t j = 0; j < features_; ++j) {
        const T value = static_cast<T>(inverse * (scaled(j) - mean_scaled - normal(j) * product));
        to[j] = adds ? to[j] + value : value;
      }
    });
  }

 private:
  template <class T>
  const T* segment(const NodeCall<T>& call, std::size_t i) const {
    return segments_.empty() ? nullptr : call.value(segments_[i]);
  }

  template <class Body>
  void for_each_row(std::int64_t rows, Body body) const {
    for_rows(rows, features_, kGrain, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t row = first; row < first + count; ++row) body(row);
    });
  }

  /// The gradients: of weight, the sum of g h over the rows; of bias, that of g. In order, on one thread.
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
    for (std::size_t i = 0; i < 2; ++i)
      store_sums(i == 0 ? products : sums, features_, call.gradient(segments_[i]),
                 call.accumulate_segment[i] != 0);
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

extern const OperationEntries layer_norm_operations{kEntries};

}  // namespace nncore
