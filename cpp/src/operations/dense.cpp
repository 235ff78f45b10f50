// The dense layer: z = x W^T + b.
#include "product/dense.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "operations/entry.hpp"

namespace nncore {
namespace {

/// z = x W^T + b, or z = x W + b where the weight is used transposed.
class DenseOperation final : public OperationOf<DenseOperation> {
 public:
  DenseOperation(int weight, int bias, std::int64_t in_features, std::int64_t out_features, bool transposed)
      : in_features_(in_features),
        out_features_(out_features),
        segments_{weight, bias},
        has_bias_(bias >= 0),
        transposed_(transposed) {}

  const char* kind() const override { return "dense"; }
  bool fuses_activation() const override { return true; }
  bool fuses_descent(std::int64_t rows) const override { return is_one_chain(rows); }
  bool advances() const override { return !transposed_ && dense_advances(in_features_, out_features_); }
  std::span<const int> segments() const override { return {segments_, has_bias_ ? 2U : 1U}; }
  std::int64_t scratch_bytes(std::int64_t rows) const override {
    return dense_scratch_bytes(in_features_, out_features_, rows);
  }

  std::int64_t out_features(std::span<const std::int64_t> in_features) const override {
    if (in_features[0] != in_features_) {
      throw std::invalid_argument("takes in_features = " + std::to_string(in_features_) + " but is given " +
                                  std::to_string(in_features[0]));
    }
    return out_features_;
  }

  void check_segments(std::span<const Segment> segments) const override {
    const Segment& weight = segments[static_cast<std::size_t>(segments_[0])];
    const std::int64_t rows = transposed_ ? in_features_ : out_features_;
    const std::int64_t columns = transposed_ ? out_features_ : in_features_;
    if (weight.is_vector || weight.rows != rows || weight.columns != columns) {
      throw std::invalid_argument("weight segment '" + weight.name + "' has shape (" +
                                  std::to_string(weight.rows) + ", " + std::to_string(weight.columns) +
                                  "); expected (" + std::to_string(rows) + ", " + std::to_string(columns) +
                                  ")");
    }
    if (!has_bias_) return;
    const Segment& bias = segments[static_cast<std::size_t>(segments_[1])];
    if (bias.size() != out_features_) {
      throw std::invalid_argument("bias segment '" + bias.name + "' has " + std::to_string(bias.size()) +
                                  " elements; expected " + std::to_string(out_features_));
    }
  }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    dense_forward<T>(call.inputs[0], weight(call), bias(call), call.output, call.fused, call.fused_derivative,
                     call.scratch, call.finite_values);
  }

  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    const Matrix<T> grad_weight = call.parameters->gradient(segments_[0]);
    DenseGradients<T> gradients;
    gradients.x = call.grad_inputs[0];
    gradients.accumulate_x = call.accumulate_input[0] != 0;
    gradients.derivative_x = call.input_derivative[0];
    if (!call.leaves_first_segment) gradients.weight = transposed_ ? grad_weight.transposed() : grad_weight;
    gradients.accumulate_weight = call.accumulate_segment[0] != 0;
    if (has_bias_) {
      gradients.bias = call.parameters->gradient(segments_[1]).data;
      gradients.accumulate_bias = call.accumulate_segment[1] != 0;
    }
    dense_backward<T>(call.grad_output, call.inputs[0], weight(call), gradients, call.scratch);
  }

  /// A sum over the samples of products, each rounded a little.
  double gradient_bound(std::int64_t rows, double largest_input, double largest_grad_output) const override {
    return 2.0 * static_cast<double>(rows) * largest_input * largest_grad_output;
  }

  void descend(const NodeCall<float>& call) const override { compute_descend(call); }
  void descend(const NodeCall<double>& call) const override { compute_descend(call); }
  void advance(const NodeCall<float>& call) const override { compute_advance(call); }
  void advance(const NodeCall<double>& call) const override { compute_advance(call); }

 private:
  template <class T>
  void compute_descend(const NodeCall<T>& call) const {
    const bool descends = call.descent != T{0};
    const Matrix<T> target =
        descends ? call.parameters->value(segments_[0]) : call.parameters->gradient(segments_[0]);
    DenseGradients<T> gradients;
    gradients.weight = transposed_ ? target.transposed() : target;
    gradients.accumulate_weight = descends;
    gradients.weight_scale = descends ? call.descent : T{1};
    dense_backward<T>(call.grad_output, call.inputs[0], weight(call), gradients, call.scratch);
  }
  template <class T>
  void compute_advance(const NodeCall<T>& call) const {
    dense_advance<T>(call.grad_output, call.inputs[0], call.descent, call.parameters->value(segments_[0]),
                     call.next_input, bias(call), call.output, call.fused, call.fused_derivative);
  }
  template <class T>
  Matrix<const T> weight(const NodeCall<T>& call) const {
    const Matrix<const T> stored = std::as_const(*call.parameters).value(segments_[0]);
    return transposed_ ? stored.transposed() : stored;
  }
  template <class T>
  const T* bias(const NodeCall<T>& call) const {
    return has_bias_ ? std::as_const(*call.parameters).value(segments_[1]).data : nullptr;
  }
  std::int64_t in_features_, out_features_;
  int segments_[2];
  bool has_bias_, transposed_;
};

std::shared_ptr<const Operation> make_dense(const NodeArguments& given) {
  const Attributes& attributes = given.attributes;
  check_attributes(attributes, {"in_features", "out_features", "transposed"});
  if (given.segments.empty() || given.segments.size() > 2) refuse_segments(given, "one or two");
  return std::make_shared<DenseOperation>(
      given.segments[0], given.segments.size() > 1 ? given.segments[1] : -1,
      size_attribute(attributes, "in_features"), size_attribute(attributes, "out_features"),
      flag_attribute(attributes, "transposed"));
}

constexpr OperationEntry kEntries[] = {{"dense", make_dense, 1, 1}};

}  // namespace

namespace operations {
extern const OperationEntries dense{kEntries};
}

}  // namespace nncore
