// Operations that combine the values of several nodes.
#include <algorithm>
#include <memory>

#include "functions/join.hpp"
#include "kernels/table.hpp"
#include "operations/entry.hpp"

namespace nncore {
namespace {

/// An operation on values of equal width.
template <class Derived>
class Elementwise : public OperationOf<Derived> {
 public:
  std::int64_t out_features(std::span<const std::int64_t> in_features) const override {
    for (const std::int64_t features : in_features)
      if (features != in_features[0])
        throw invalid("must have inputs of equal width; got ", in_features[0], " and ", features);
    return in_features[0];
  }
};

/// Values of nodes have no gaps, so that a whole matrix is one run of elements.
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

/// The sum of values of equal width.
class AddOperation final : public Elementwise<AddOperation> {
 public:
  const char* kind() const override { return "add"; }

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

/// The first value minus the second.
class SubtractOperation final : public Elementwise<SubtractOperation> {
 public:
  const char* kind() const override { return "subtract"; }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    kernels::active<T>().subtract(call.inputs[0].data, call.inputs[1].data, call.output.data,
                                  elements(call.output));
  }
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    if (call.grad_inputs[0].data != nullptr)
      copy_or_add<T>(call.grad_output, call.grad_inputs[0], call.accumulate_input[0] != 0);
    const Matrix<T>& grad = call.grad_inputs[1];
    if (grad.data == nullptr) return;
    if (call.accumulate_input[1] == 0) std::fill_n(grad.data, elements(grad), T{0});
    kernels::active<T>().subtract(grad.data, call.grad_output.data, grad.data, elements(grad));
  }
};

/// The product of two values, element by element.
class MultiplyOperation final : public Elementwise<MultiplyOperation> {
 public:
  const char* kind() const override { return "multiply"; }

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

template <class Merge>
std::shared_ptr<const Operation> make(const NodeArguments& given) {
  check_attributes(given.attributes, {});
  return std::make_shared<Merge>();
}

constexpr OperationEntry kEntries[] = {{"add", make<AddOperation>, 1, kAnyNumberOfInputs},
                                       {"subtract", make<SubtractOperation>, 2, 2},
                                       {"multiply", make<MultiplyOperation>, 2, 2},
                                       {"concatenate", make<ConcatenateOperation>, 1, kAnyNumberOfInputs}};

}  // namespace

extern const OperationEntries merge_operations{kEntries};

}  // namespace nncore
