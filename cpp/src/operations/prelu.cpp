// PReLU (He et al. 2015): a = z where z > 0, else weight z, with one weight or one for each column.
#include <algorithm>
#include <memory>
#include <numeric>

#include "functions/blocks.hpp"
#include "functions/join.hpp"
#include "functions/reductions.hpp"
#include "kernels/table.hpp"
#include "operations/entry.hpp"

namespace nncore {
namespace {

constexpr std::int64_t kBlockRows = 256;  ///< rows whose gradients are added one after the other

class PReluOperation final : public OperationOf<PReluOperation> {
 public:
  PReluOperation(int segment, std::int64_t weights) : segment_{segment}, weights_(weights) {}

  const char* kind() const override { return "prelu"; }
  std::span<const int> segments() const override { return segment_; }
  std::int64_t out_features(std::span<const std::int64_t> in_features) const override {
    if (weights_ != 1 && weights_ != in_features[0])
      throw invalid("must have one weight, or one for each of its ", in_features[0], " input features; got ",
                    weights_);
    return in_features[0];
  }
  void check_segments(std::span<const Segment> all) const override {
    check_segment(all, segment_[0], {weights_});
  }
  /// For each column: a slope, the sum so far, and the sum of a block of rows.
  std::int64_t scratch_bytes(std::int64_t, std::int64_t features) const override {
    return features * static_cast<std::int64_t>(3 * sizeof(double));
  }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    const Matrix<const T>& z = call.inputs[0];
    kernels::active<T>().prelu(rows_at(z, 0), rows_at(call.output, 0), z.rows, z.columns, slopes(call));
  }

  /// Sums in float64 over blocks of rows, then over the columns if they share a weight; in order, on one
  /// thread.
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    const Matrix<const T>&z = call.inputs[0], &g = call.grad_output;
    const Matrix<T>& to = call.grad_inputs[0];
    const T* const slope = slopes(call);
    const std::int64_t features = z.columns;
    double* const sums = reinterpret_cast<double*>(call.scratch.data) + features;
    double* const block = sums + features;
    std::fill_n(sums, features, 0.0);
    for (std::int64_t row = 0; row < z.rows; row += kBlockRows) {
      std::fill_n(block, features, 0.0);
      kernels::active<T>().prelu_backward({.g = rows_at(g, row),
                                           .z = rows_at(z, row),
                                           .grad_in = rows_at(to, row),
                                           .rows = std::min(kBlockRows, z.rows - row),
                                           .columns = features,
                                           .slope = slope,
                                           .sums = block,
                                           .accumulate = call.accumulate_input[0] != 0});
      for (std::int64_t j = 0; j < features; ++j) sums[j] += block[j];
    }
    if (weights_ == 1 && features > 1) sums[0] = std::accumulate(sums, sums + features, 0.0);
    store_sums(sums, weights_, call.gradient(segment_[0]), call.accumulate_segment[0] != 0);
  }

 private:
  template <class T>
  const T* slopes(const NodeCall<T>& call) const {
    const T* const weight = call.value(segment_[0]);
    if (weights_ == call.output.columns) return weight;
    T* const each = reinterpret_cast<T*>(call.scratch.data);
    std::fill_n(each, call.output.columns, weight[0]);
    return each;
  }

  int segment_[1];
  std::int64_t weights_;
};

std::shared_ptr<const Operation> make_prelu(const NodeArguments& given) {
  check_attributes(given.attributes, {"num_parameters"});
  if (given.segments.size() != 1) refuse_segments(given, "one");
  return std::make_shared<PReluOperation>(given.segments[0],
                                          size_attribute(given.attributes, "num_parameters"));
}

constexpr OperationEntry kEntries[] = {{"prelu", make_prelu, 1, 1}};

}  // namespace

extern const OperationEntries prelu_operations{kEntries};

}  // namespace nncore
