// Parameter: a vector that every row of the batch has, learned like a weight. It reads nothing.
#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/chains.hpp"
#include "kernels/table.hpp"
#include "operations/entry.hpp"

namespace nncore {
namespace {

class ParameterOperation final : public OperationOf<ParameterOperation> {
 public:
  ParameterOperation(int segment, std::int64_t features) : segment_{segment}, features_(features) {}

  const char* kind() const override { return "parameter"; }
  std::span<const int> segments() const override { return segment_; }
  std::int64_t out_features(std::span<const std::int64_t>) const override { return features_; }
  void check_segments(std::span<const Segment> all) const override {
    const Segment& segment = all[static_cast<std::size_t>(segment_[0])];
    if (segment.shape != std::vector{features_})
      throw std::invalid_argument("segment '" + segment.name + "' must have the shape (" +
                                  std::to_string(features_) + ",); got " + shape_text(segment));
  }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    const Parameters<T>& parameters = *call.parameters;
    const T* const value = parameters.value(segment_[0]).data;
    for (std::int64_t row = 0; row < call.output.rows; ++row)
      std::copy_n(value, features_, &call.output(row, 0));
  }

  /// A sum over the batch, as the gradient of a bias is.
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    T* const gradient = call.parameters->gradient(segment_[0]).data;
    const Matrix<const T>& g = call.grad_output;
    const auto sum_rows = kernels::active<T>().sum_rows;
    const bool adds = call.accumulate_segment[0] != 0;
    if (g.rows == 0 && !adds) std::fill_n(gradient, features_, T{0});
    const std::int64_t chain = chain_length(g.rows);
    for (std::int64_t row = 0; row < g.rows; row += chain)
      sum_rows(&g(row, 0), g.row_stride, std::min(chain, g.rows - row), features_, gradient, adds || row > 0);
  }

 private:
  int segment_[1];
  std::int64_t features_;
};

std::shared_ptr<const Operation> make_parameter(const NodeArguments& given) {
  check_attributes(given.attributes, {"features"});
  if (given.segments.size() != 1) refuse_segments(given, "one");
  return std::make_shared<ParameterOperation>(given.segments[0],
                                              size_attribute(given.attributes, "features"));
}

constexpr OperationEntry kEntries[] = {{"parameter", make_parameter, 0, 0}};

}  // namespace

namespace operations {
extern const OperationEntries parameter{kEntries};
}

}  // namespace nncore
