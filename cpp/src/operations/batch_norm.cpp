// Batch normalization (Ioffe and Szegedy 2015): y = (x - mean) / sqrt(variance + epsilon) weight + bias,
// column by column. Training uses the mean and variance of the batch, prediction their running averages.
#include <algorithm>
#include <cmath>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "functions/blocks.hpp"
#include "functions/join.hpp"
#include "functions/reductions.hpp"
#include "kernels/table.hpp"
#include "operations/entry.hpp"

namespace nncore {
namespace {

constexpr std::int64_t kGrain = 1 << 15;  ///< up to this many elements stay on one thread

/// Statistics of each column that forward saves for backward and for commit.
template <class T>
struct Statistics {
  Statistics(std::byte* memory, std::int64_t features)
      : mean(reinterpret_cast<double*>(memory)),
        variance(mean + features),
        inverse(variance + features),
        center(reinterpret_cast<T*>(inverse + features)),
        scale(center + features),
        offset(scale + features),
        slope(offset + features) {}

  double *mean, *variance, *inverse;  ///< inverse: 1 / sqrt(variance + epsilon)
  T *center, *scale, *offset, *slope;

  static std::int64_t bytes(std::int64_t features) {
    return features * static_cast<std::int64_t>(3 * sizeof(double) + 4 * sizeof(T));
  }
};

class BatchNormOperation final : public OperationOf<BatchNormOperation> {
 public:
  BatchNormOperation(const NodeArguments& given, std::int64_t features, double epsilon, double momentum)
      : features_(features),
        epsilon_(epsilon),
        momentum_(momentum),
        segments_(given.segments.begin(), given.segments.end()),
        state_(given.state.begin(), given.state.end()) {}

  const char* kind() const override { return "batch_norm"; }
  std::span<const int> segments() const override { return segments_; }
  std::span<const int> state_segments() const override { return state_; }
  std::int64_t fewest_training_rows() const override { return 2; }
  std::int64_t saved_bytes(std::int64_t, std::int64_t, std::int64_t) const override {
    return Statistics<double>::bytes(features_);
  }
  std::int64_t scratch_bytes(std::int64_t, std::int64_t) const override {
    return Statistics<double>::bytes(features_);
  }

  std::int64_t out_features(std::span<const std::int64_t> in_features) const override {
    return check_width(in_features, features_);
  }
  void check_segments(std::span<const Segment> all) const override { check(all, segments_); }
  void check_state(std::span<const Segment> all) const override { check(all, state_); }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    Statistics<T> s(call.saved != nullptr ? call.saved : call.scratch.data, features_);
    const Matrix<const T>& x = call.inputs[0];
    if (call.training) {
      const auto rows = static_cast<double>(x.rows);
      column_sums<T>(x, {}, nullptr, s.mean);
      for (std::int64_t j = 0; j < features_; ++j) s.mean[j] /= rows;
      column_sums<T>(x, {}, s.mean, s.variance);
      for (std::int64_t j = 0; j < features_; ++j) s.variance[j] /= rows;
    } else {
      const T* const mean = call.parameters->state_value(state_[0]);
      const T* const variance = call.parameters->state_value(state_[1]);
      std::copy_n(mean, features_, s.mean);
      std::copy_n(variance, features_, s.variance);
    }
    const auto [weight, bias] = affine(call);
    for (std::int64_t j = 0; j < features_; ++j) {
      s.inverse[j] = 1.0 / std::sqrt(s.variance[j] + epsilon_);
      s.center[j] = static_cast<T>(s.mean[j]);
      s.scale[j] = static_cast<T>(s.inverse[j] * (weight != nullptr ? static_cast<double>(weight[j]) : 1.0));
      s.offset[j] = bias != nullptr ? bias[j] : T{0};
    }
    const auto kernel = kernels::active<T>().normalize;
    for_rows(x.rows, features_, kGrain, [&](std::int64_t begin, std::int64_t rows) {
      kernel({.x = rows_at(x, begin),
              .out = rows_at(call.output, begin),
              .rows = rows,
              .columns = features_,
              .center = s.center,
              .scale = s.scale,
              .offset = s.offset});
    });
  }

  /// With g the gradient of the output and h = (x - mean) inverse: the gradient of weight is sum g h, of bias
  /// sum g, and of x, in training, weight inverse (g - sum g / B - h sum g h / B).
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    Statistics<T> s(call.saved, features_);
    const Matrix<const T>&x = call.inputs[0], &g = call.grad_output;
    double *const sum = reinterpret_cast<double*>(call.scratch.data), *const product = sum + features_;
    column_sums<T>(x, g, s.mean, sum, product);
    for (std::int64_t j = 0; j < features_; ++j) product[j] *= s.inverse[j];
    for (std::size_t i = 0; i < segments_.size(); ++i)
      store_sums(i == 0 ? product : sum, features_, call.gradient(segments_[i]),
                 call.accumulate_segment[i] != 0);
    const Matrix<T>& to = call.grad_inputs[0];
    if (to.data == nullptr) return;
    const double rows = call.training ? static_cast<double>(x.rows) : 1.0;
    for (std::int64_t j = 0; j < features_; ++j) {
      const double scale = static_cast<double>(s.scale[j]);
      s.slope[j] = call.training ? static_cast<T>(-scale * s.inverse[j] * product[j] / rows) : T{0};
      s.offset[j] = call.training ? static_cast<T>(-scale * sum[j] / rows) : T{0};
    }
    const auto kernel = kernels::active<T>().normalize_backward;
    for_rows(x.rows, features_, kGrain, [&](std::int64_t begin, std::int64_t count) {
      kernel({.g = rows_at(g, begin),
              .x = rows_at(x, begin),
              .grad_in = rows_at(to, begin),
              .rows = count,
              .columns = features_,
              .center = s.center,
              .scale = s.scale,
              .slope = s.slope,
              .offset = s.offset,
              .accumulate = call.accumulate_input[0] != 0});
    });
  }

  bool can_commit(const NodeCall<float>& call) const override { return is_finite_after(call); }
  bool can_commit(const NodeCall<double>& call) const override { return is_finite_after(call); }
  void commit(const NodeCall<float>& call) const override { move_averages(call); }
  void commit(const NodeCall<double>& call) const override { move_averages(call); }

 private:
  void check(std::span<const Segment> all, const std::vector<int>& own) const {
    for (const int index : own) check_segment(all, index, {features_});
  }

  template <class T>
  std::pair<const T*, const T*> affine(const NodeCall<T>& call) const {
    if (segments_.empty()) return {nullptr, nullptr};
    return {call.value(segments_[0]), call.value(segments_[1])};
  }

  /// The next running averages. The variance is over B - 1, to estimate that of the population.
  template <class T>
  std::pair<T, T> next(const NodeCall<T>& call, std::int64_t j) const {
    const Statistics<T> s(call.saved, features_);
    const auto rows = static_cast<double>(call.inputs[0].rows);
    const auto moved = [this](T old, double batch) {
      return static_cast<T>((1.0 - momentum_) * static_cast<double>(old) + momentum_ * batch);
    };
    return {moved(call.parameters->state_value(state_[0])[j], s.mean[j]),
            moved(call.parameters->state_value(state_[1])[j], s.variance[j] * (rows / (rows - 1.0)))};
  }
  template <class T>
  bool is_finite_after(const NodeCall<T>& call) const {
    for (std::int64_t j = 0; j < features_; ++j) {
      const auto [mean, variance] = next(call, j);
      if (!std::isfinite(mean) || !std::isfinite(variance)) return false;
    }
    return true;
  }
  template <class T>
  void move_averages(const NodeCall<T>& call) const {
    T *const mean = call.parameters->state_value(state_[0]), *const variance =
                                                                 call.parameters->state_value(state_[1]);
    for (std::int64_t j = 0; j < features_; ++j) std::tie(mean[j], variance[j]) = next(call, j);
  }

  std::int64_t features_;
  double epsilon_, momentum_;
  std::vector<int> segments_, state_;
};

std::shared_ptr<const Operation> make_batch_norm(const NodeArguments& given) {
  check_attributes(given.attributes, {"num_features", "eps", "momentum"});
  if (given.segments.size() != 2 && !given.segments.empty()) refuse_segments(given, "none or two");
  if (given.state.size() != 2) throw invalid("state must be two segments; got ", given.state.size());
  const double epsilon = number_attribute(given.attributes, "eps", 1e-5);
  const double momentum = number_attribute(given.attributes, "momentum", 0.1);
  check_parameter("eps", kPositive, epsilon);
  check_parameter("momentum", {.low = 0.0, .high = 1.0, .text = "a number in [0, 1]"}, momentum);
  return std::make_shared<BatchNormOperation>(given, size_attribute(given.attributes, "num_features"),
                                              epsilon, momentum);
}

constexpr OperationEntry kEntries[] = {{"batch_norm", make_batch_norm, 1, 1}};

}  // namespace

extern const OperationEntries batch_norm_operations{kEntries};

}  // namespace nncore
