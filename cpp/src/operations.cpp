// The operations that nodes are made of. Each is its formula, forward and backward.
#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "dense.hpp"
#include "kernels/table.hpp"
#include "nncore/activations.hpp"
#include "nncore/graph.hpp"
#include "nncore/operation.hpp"

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
    dense_forward<T>(call.inputs[0], weight(call), bias(call), call.output, call.fused, call.scratch,
                     call.finite_values);
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
                     call.next_input, bias(call), call.output, call.fused);
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

class ActivationOperation final : public OperationOf<ActivationOperation> {
 public:
  explicit ActivationOperation(Activation activation) : activation_(activation) {}

  const char* kind() const override { return name(activation_); }
  std::optional<Activation> activation() const override { return activation_; }
  std::int64_t out_features(std::span<const std::int64_t> in_features) const override {
    if (!is_elementwise(activation_) && in_features[0] == 1)
      throw std::invalid_argument(std::string(name(activation_)) +
                                  " needs two or more features, as the softmax of one is always 1; got 1. "
                                  "For two classes with one output, use sigmoid");
    return in_features[0];
  }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    activation_forward<T>(activation_, call.inputs[0], call.output);
  }
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    if (call.grad_inputs[0].data == nullptr) return;
    activation_backward<T>(activation_, call.grad_output, call.output, call.grad_inputs[0],
                           call.accumulate_input[0] != 0);
  }

 private:
  Activation activation_;
};

std::int64_t equal_widths(std::span<const std::int64_t> in_features) {
  for (const std::int64_t features : in_features) {
    if (features != in_features[0]) {
      throw std::invalid_argument("needs inputs of one width but is given " + std::to_string(in_features[0]) +
                                  " and " + std::to_string(features));
    }
  }
  return in_features[0];
}

/// Values of nodes lie without gaps, so that a whole matrix is one run of elements.
template <class M>
std::int64_t elements(const M& matrix) {
  return matrix.rows * matrix.columns;
}

template <class T>
void copy_or_add(Matrix<const T> from, Matrix<T> to, bool add) {
  if (add)
    kernels::active<T>().add(to.data, from.data, to.data, elements(to));
  else
    std::copy_n(from.data, elements(to), to.data);
}

class AddOperation final : public OperationOf<AddOperation> {
 public:
  const char* kind() const override { return "add"; }
  std::int64_t out_features(std::span<const std::int64_t> in_features) const override {
    return equal_widths(in_features);
  }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    copy_or_add<T>(call.inputs[0], call.output, false);
    for (const Matrix<const T>& input : call.inputs.subspan(1)) copy_or_add<T>(input, call.output, true);
  }
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    for (std::size_t i = 0; i < call.inputs.size(); ++i) {
      if (call.grad_inputs[i].data == nullptr) continue;
      copy_or_add<T>(call.grad_output, call.grad_inputs[i], call.accumulate_input[i] != 0);
    }
  }
};

void expect_two(std::span<const std::int64_t> in_features) {
  if (in_features.size() != 2) {
    throw std::invalid_argument("takes 2 inputs but is given " + std::to_string(in_features.size()));
  }
}

/// The difference of two values, element by element.
class SubtractOperation final : public OperationOf<SubtractOperation> {
 public:
  const char* kind() const override { return "subtract"; }
  std::int64_t out_features(std::span<const std::int64_t> in_features) const override {
    expect_two(in_features);
    return equal_widths(in_features);
  }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    const T* const a = call.inputs[0].data;
    const T* const b = call.inputs[1].data;
    for (std::int64_t i = 0; i < elements(call.output); ++i) call.output.data[i] = a[i] - b[i];
  }
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    const T* const grad_output = call.grad_output.data;
    if (call.grad_inputs[0].data != nullptr) {
      copy_or_add<T>(call.grad_output, call.grad_inputs[0], call.accumulate_input[0] != 0);
    }
    const Matrix<T>& grad = call.grad_inputs[1];
    if (grad.data == nullptr) return;
    const bool add = call.accumulate_input[1] != 0;
    for (std::int64_t i = 0; i < elements(grad); ++i) {
      grad.data[i] = add ? grad.data[i] - grad_output[i] : -grad_output[i];
    }
  }
};

/// The product of two values, element by element.
class MultiplyOperation final : public OperationOf<MultiplyOperation> {
 public:
  const char* kind() const override { return "multiply"; }
  std::int64_t out_features(std::span<const std::int64_t> in_features) const override {
    expect_two(in_features);
    return equal_widths(in_features);
  }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    kernels::active<T>().multiply(call.inputs[0].data, call.inputs[1].data, call.output.data,
                                  elements(call.output));
  }
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    const kernels::Kernels<T>& kernels = kernels::active<T>();
    for (std::size_t i = 0; i < 2; ++i) {
      const Matrix<T>& grad = call.grad_inputs[i];
      if (grad.data == nullptr) continue;
      const auto product = call.accumulate_input[i] != 0 ? kernels.multiply_add : kernels.multiply;
      product(call.grad_output.data, call.inputs[1 - i].data, grad.data, elements(grad));
    }
  }
};

class ConcatenateOperation final : public OperationOf<ConcatenateOperation> {
 public:
  const char* kind() const override { return "concatenate"; }
  std::int64_t out_features(std::span<const std::int64_t> in_features) const override {
    std::int64_t sum = 0;
    for (const std::int64_t features : in_features) sum += features;
    return sum;
  }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    std::int64_t first = 0;
    for (const Matrix<const T>& input : call.inputs) {
      for (std::int64_t row = 0; row < input.rows; ++row) {
        std::copy_n(&input(row, 0), input.columns, &call.output(row, first));
      }
      first += input.columns;
    }
  }
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    std::int64_t first = 0;
    for (std::size_t i = 0; i < call.inputs.size(); ++i) {
      const Matrix<T>& grad = call.grad_inputs[i];
      for (std::int64_t row = 0; grad.data != nullptr && row < grad.rows; ++row) {
        copy_or_add<T>({&call.grad_output(row, first), 1, grad.columns}, {&grad(row, 0), 1, grad.columns},
                       call.accumulate_input[i] != 0);
      }
      first += call.inputs[i].columns;
    }
  }
};

Node node_of(std::string name, std::shared_ptr<const Operation> operation, std::vector<int> inputs) {
  Node node;
  node.name = std::move(name);
  node.operation = std::move(operation);
  node.inputs = std::move(inputs);
  return node;
}

}  // namespace

Node input_node(std::string name, std::int64_t features, bool is_integer) {
  Node node;
  node.name = std::move(name);
  node.features = features;
  node.is_integer = is_integer;
  return node;
}

Node dense_node(std::string name, int input, int weight, int bias, std::int64_t in_features,
                std::int64_t out_features, bool transposed) {
  return node_of(std::move(name),
                 std::make_shared<DenseOperation>(weight, bias, in_features, out_features, transposed),
                 {input});
}

Node activation_node(std::string name, int input, Activation activation) {
  return node_of(std::move(name), std::make_shared<ActivationOperation>(activation), {input});
}

Node add_node(std::string name, std::vector<int> inputs) {
  return node_of(std::move(name), std::make_shared<AddOperation>(), std::move(inputs));
}

Node subtract_node(std::string name, std::vector<int> inputs) {
  return node_of(std::move(name), std::make_shared<SubtractOperation>(), std::move(inputs));
}

Node multiply_node(std::string name, std::vector<int> inputs) {
  return node_of(std::move(name), std::make_shared<MultiplyOperation>(), std::move(inputs));
}

Node concatenate_node(std::string name, std::vector<int> inputs) {
  return node_of(std::move(name), std::make_shared<ConcatenateOperation>(), std::move(inputs));
}

}  // namespace nncore
