// The operations that nodes are made of. Each is its formula, forward and backward.
#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "kernels/table.hpp"
#include "nncore/activations.hpp"
#include "nncore/graph.hpp"
#include "nncore/operation.hpp"
#include "operations/fused_sgd.hpp"
#include "product/dense.hpp"

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
  const FusedSgd* fused_sgd() const override { return &sgd_; }
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
    DenseGradients<T> gradients = other_gradients(call);
    gradients.weight = oriented(call.parameters->gradient(segments_[0]));
    gradients.accumulate_weight = call.accumulate_segment[0] != 0;
    dense_backward<T>(call.grad_output, call.inputs[0], weight(call), gradients, call.scratch);
  }

 private:
  /// Changes the weight while its gradient is formed.
  class Sgd final : public FusedSgd {
   public:
    explicit Sgd(const DenseOperation& dense) : dense_(dense) {}

    /// A sum over the samples of products, each rounded a little.
    double gradient_bound(std::int64_t rows, double largest_input,
                          double largest_grad_output) const override {
      return 2.0 * static_cast<double>(rows) * largest_input * largest_grad_output;
    }
    bool has_step(std::int64_t rows) const override { return is_one_chain(rows); }
    bool has_advance() const override {
      return !dense_.transposed_ && dense_advances(dense_.in_features_, dense_.out_features_);
    }

    void backward(const NodeCall<float>& call) const override { run(call, dense_.other_gradients(call)); }
    void backward(const NodeCall<double>& call) const override { run(call, dense_.other_gradients(call)); }
    void store_gradient(const NodeCall<float>& call) const override { compute_gradient(call); }
    void store_gradient(const NodeCall<double>& call) const override { compute_gradient(call); }
    void step(const NodeCall<float>& call, float scale) const override { compute_step(call, scale); }
    void step(const NodeCall<double>& call, double scale) const override { compute_step(call, scale); }
    void advance(const NodeCall<float>& call, float scale, const float* next_input) const override {
      compute_advance(call, scale, next_input);
    }
    void advance(const NodeCall<double>& call, double scale, const double* next_input) const override {
      compute_advance(call, scale, next_input);
    }

   private:
    template <class T>
    void run(const NodeCall<T>& call, const DenseGradients<T>& gradients) const {
      dense_backward<T>(call.grad_output, call.inputs[0], dense_.weight(call), gradients, call.scratch);
    }
    template <class T>
    void compute_gradient(const NodeCall<T>& call) const {
      DenseGradients<T> gradients;
      gradients.weight = dense_.oriented(call.parameters->gradient(dense_.segments_[0]));
      run(call, gradients);
    }
    template <class T>
    void compute_step(const NodeCall<T>& call, T scale) const {
      DenseGradients<T> gradients;
      gradients.weight = dense_.oriented(call.parameters->value(dense_.segments_[0]));
      gradients.accumulate_weight = true;
      gradients.weight_scale = scale;
      run(call, gradients);
    }
    template <class T>
    void compute_advance(const NodeCall<T>& call, T scale, const T* next_input) const {
      dense_advance<T>(call.grad_output, call.inputs[0], scale, call.parameters->value(dense_.segments_[0]),
                       next_input, dense_.bias(call), call.output, call.fused);
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
      gradients.bias = call.parameters->gradient(segments_[1]).data;
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
    return has_bias_ ? std::as_const(*call.parameters).value(segments_[1]).data : nullptr;
  }
  std::int64_t in_features_, out_features_;
  int segments_[2];
  bool has_bias_, transposed_;
  Sgd sgd_{*this};
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

/// The product of two values, element by element.
class MultiplyOperation final : public OperationOf<MultiplyOperation> {
 public:
  const char* kind() const override { return "multiply"; }
  std::int64_t out_features(std::span<const std::int64_t> in_features) const override {
    if (in_features.size() != 2) {
      throw std::invalid_argument("takes 2 inputs but is given " + std::to_string(in_features.size()));
    }
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

Node multiply_node(std::string name, std::vector<int> inputs) {
  return node_of(std::move(name), std::make_shared<MultiplyOperation>(), std::move(inputs));
}

Node concatenate_node(std::string name, std::vector<int> inputs) {
  return node_of(std::move(name), std::make_shared<ConcatenateOperation>(), std::move(inputs));
}

}  // namespace nncore
