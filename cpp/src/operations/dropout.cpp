// Dropout (Srivastava et al. 2014): training sets each number to 0 with probability p, and divides the others
// by 1 - p.
#include <algorithm>
#include <cmath>
#include <memory>

#include "functions/blocks.hpp"
#include "kernels/table.hpp"
#include "nncore/random.hpp"
#include "operations/entry.hpp"

namespace nncore {
namespace {

constexpr std::int64_t kGrain = 1 << 13;  ///< up to this many elements stay on one thread

class DropoutOperation final : public OperationOf<DropoutOperation> {
 public:
  explicit DropoutOperation(double probability) : probability_(probability) {}

  const char* kind() const override { return "dropout"; }
  std::int64_t out_features(std::span<const std::int64_t> in_features) const override {
    return in_features[0];
  }
  /// The factor of each element.
  std::int64_t saved_bytes(std::int64_t rows, std::int64_t features,
                           std::int64_t scalar_size) const override {
    return rows * features * scalar_size;
  }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    const Matrix<const T>& in = call.inputs[0];
    if (!call.training || probability_ == 0.0) {
      std::copy_n(in.data, in.rows * in.columns, call.output.data);
      return;
    }
    const auto kernel = kernels::active<T>().dropout;
    const Matrix<T> factors(reinterpret_cast<T*>(call.saved), in.rows, in.columns);
    for_rows(in.rows, in.columns, kGrain, [&](std::int64_t first, std::int64_t count) {
      kernel(
          {.in = rows_at(in, first),
           .out = rows_at(call.output, first),
           .factors = rows_at(factors, first),
           .rows = count,
           .columns = in.columns,
           .seed = call.seed,
           .step = call.random_step,
           .purpose = static_cast<std::uint32_t>(RandomPurpose::dropout),
           .node = static_cast<std::uint32_t>(call.node),
           .first_row = call.first_row + first,
           .threshold = static_cast<std::uint32_t>(std::lround(std::min(probability_ * 0x1p32, 0x1p32 - 1))),
           .scale = static_cast<T>(1.0 / (1.0 - probability_))});
    });
  }

  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    const Matrix<T>& grad = call.grad_inputs[0];
    if (grad.data == nullptr) return;
    const kernels::Kernels<T>& kernels = kernels::active<T>();
    const std::int64_t count = grad.rows * grad.columns;
    const bool adds = call.accumulate_input[0] != 0;
    if (!call.training || probability_ == 0.0) {
      if (adds)
        kernels.add(grad.data, call.grad_output.data, grad.data, count);
      else
        std::copy_n(call.grad_output.data, count, grad.data);
      return;
    }
    const auto product = adds ? kernels.multiply_add : kernels.multiply;
    product(call.grad_output.data, reinterpret_cast<const T*>(call.saved), grad.data, count);
  }

 private:
  double probability_;
};

std::shared_ptr<const Operation> make_dropout(const NodeArguments& given) {
  check_attributes(given.attributes, {"p"});
  const double probability = number_attribute(given.attributes, "p", 0.5);
  check_parameter("p", kFraction, probability);
  return std::make_shared<DropoutOperation>(probability);
}

constexpr OperationEntry kEntries[] = {{"dropout", make_dropout, 1, 1}};

}  // namespace

extern const OperationEntries dropout_operations{kEntries};

}  // namespace nncore
