// The dense layer: z = x W^T + b.
#include "product/dense.hpp"

#include <memory>
#include <utility>

#include "operations/entry.hpp"
#include "operations/fused_sgd.hpp"

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
  const FusedSgd<float>* fused_sgd(float) const override { return &float_sgd_; }
  const FusedSgd<double>* fused_sgd(double) const override { return &double_sgd_; }
  std::span<const int> segments() const override { return {segments_, has_bias_ ? 2U : 1U}; }
  std::int64_t scratch_bytes(std::int64_t rows, std::int64_t) const override {
    return dense_scratch_bytes(in_features_, out_features_, rows);
  }

  std::int64_t out_features(std::span<const std::int64_t> in_features) const override {
    check_width(in_features, in_features_);
    return out_features_;
  }

  void check_segments(std::span<const Segment> segments) const override {
    check_segment(segments, segments_[0],
                  {transposed_ ? in_features_ : out_features_, transposed_ ? out_features_ : in_features_});
    if (has_bias_) check_segment(segments, segments_[1], {out_features_});
  }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    dense_forward<T>(call.inputs[0], weight(call), bias(call), call.output, call.fused, call.fused_derivative,
                     call.scratch, call.finite_values);
  }

  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    DenseGradients<T> gradients = other_gradients(call);
    gradients.weight = oriented(call.parameters->gradient(segments_[0]));
    gradients.accumulate_weight = call.accumulate_segment[0] != 0;
    dense_backward<T>(call.grad_output, call.inputs[0], weight(call), gradients, call.scratch);
  }

 private:
  /// Updates the weight while its gradient is computed.
  template <class T>
  class Sgd final : public FusedSgd<T> {
   public:
    explicit Sgd(const DenseOperation& dense) : dense_(dense) {}

    /// The gradient sums one product per sample; the factor 2 covers rounding.
    double gradient_bound(std::int64_t rows, double largest_input,
                          double largest_grad_output) const override {
      return 2.0 * static_cast<double>(rows) * largest_input * largest_grad_output;
    }
    bool has_step(std::int64_t rows) const override { return is_one_chain(rows); }
    bool has_advance() const override {
      return !dense_.transposed_ && dense_advances(dense_.in_features_, dense_.out_features_);
    }

    void backward(const NodeCall<T>& call) const override { run(call, dense_.other_gradients(call)); }
    void store_gradient(const NodeCall<T>& call) const override {
      DenseGradients<T> gradients;
      gradients.weight = dense_.oriented(call.parameters->gradient(dense_.segments_[0]));
      run(call, gradients);
    }
    void step(const NodeCall<T>& call, T scale) const override {
      DenseGradients<T> gradients;
      gradients.weight = dense_.oriented(call.parameters->value(dense_.segments_[0]));
      gradients.accumulate_weight = true;
      gradients.weight_scale = scale;
      run(call, gradients);
    }
    void advance(const NodeCall<T>& call, T scale, const T* next_input) const override {
      dense_advance<T>(call.grad_output, call.inputs[0], scale, call.parameters->value(dense_.segments_[0]),
                       next_input, dense_.bias(call), call.output, call.fused, call.fused_derivative);
    }

   private:
    void run(const NodeCall<T>& call, const DenseGradients<T>& gradients) const {
      dense_backward<T>(call.grad_output, call.inputs[0], dense_.weight(call), gradients, call.scratch);
    }
    const DenseOperation& dense_;
  };

  /// The gradients of the input and of the bias.
  template <class T>
  DenseGradients<T> other_gradients(const NodeCall<T>& call) const {
    DenseGradients<T> gradients;
    gradients.x = call.grad_inputs[0];
    gradients.accumulate_x = call.accumulate_input[0] != 0;
    gradients.derivative_x = call.input_derivative[0];
    if (has_bias_) {
      gradients.bias = call.gradient(segments_[1]);
      gradients.accumulate_bias = call.accumulate_segment[1] != 0;
    }
    return gradients;
  }
  /// The stored weight as (O, I).
  template <class T>
  Matrix<T> oriented(Matrix<T> stored) const {
    return transposed_ ? stored.transposed() : stored;
  }
  template <class T>
  Matrix<const T> weight(const NodeCall<T>& call) const {
    return oriented(std::as_const(*call.parameters).value(segments_[0]));
  }
  template <class T>
  const T* bias(const NodeCall<T>& call) const {
    return has_bias_ ? call.value(segments_[1]) : nullptr;
  }
  std::int64_t in_features_, out_features_;
  int segments_[2];
  bool has_bias_, transposed_;
  Sgd<float> float_sgd_{*this};
  Sgd<double> double_sgd_{*this};
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

extern const OperationEntries dense_operations{kEntries};

}  // namespace nncore
