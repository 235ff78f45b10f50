// Parameter: a learned vector, the same for every row of the batch. It reads no node.
#include <algorithm>
#include <memory>

#include "operations/entry.hpp"
#include "product/dense.hpp"

namespace nncore {
namespace {

class ParameterOperation final : public OperationOf<ParameterOperation> {
 public:
  ParameterOperation(int segment, std::int64_t features) : segment_{segment}, features_(features) {}

  const char* kind() const override { return "parameter"; }
  std::span<const int> segments() const override { return segment_; }
  std::int64_t out_features(std::span<const std::int64_t>) const override { return features_; }
  void check_segments(std::span<const Segment> all) const override {
    check_segment(all, segment_[0], {features_});
  }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    const T* const value = call.value(segment_[0]);
    for (std::int64_t row = 0; row < call.output.rows; ++row)
      std::copy_n(value, features_, &call.output(row, 0));
  }

  /// A sum over the batch, like the gradient of a bias.
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    sum_batch<T>(call.grad_output, call.gradient(segment_[0]), call.accumulate_segment[0] != 0, call.scratch);
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

extern const OperationEntries parameter_operations{kEntries};

}  // namespace nncore
