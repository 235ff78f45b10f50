// Embedding: each integer of the input selects a row of a table (N, D).
#include <algorithm>
#include <memory>

#include "functions/blocks.hpp"
#include "functions/join.hpp"
#include "kernels/table.hpp"
#include "operations/entry.hpp"

namespace nncore {
namespace {

constexpr std::int64_t kGrain = 1 << 16;  ///< up to this many elements stay on one thread

class EmbeddingOperation final : public OperationOf<EmbeddingOperation> {
 public:
  EmbeddingOperation(int segment, std::int64_t rows, std::int64_t width)
      : segment_{segment}, rows_(rows), width_(width) {}

  const char* kind() const override { return "embedding"; }
  bool reads_integers() const override { return true; }
  std::int64_t integers_below() const override { return rows_; }
  std::span<const int> segments() const override { return segment_; }
  std::int64_t out_features(std::span<const std::int64_t> in_features) const override {
    if (in_features[0] > kMostFeatures / width_)
      throw invalid("must have at most ", kMostFeatures, " features; got ", in_features[0], " inputs of ",
                    width_, " features each");
    return in_features[0] * width_;
  }
  void check_segments(std::span<const Segment> all) const override {
    check_segment(all, segment_[0], {rows_, width_}, true);
  }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    const T* const table = call.value(segment_[0]);
    const std::int64_t columns = call.output.columns / width_;
    for_rows(call.output.rows, call.output.columns, kGrain, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t i = first * columns; i < (first + count) * columns; ++i)
        std::copy_n(table + call.integers[0][i] * width_, width_, call.output.data + i * width_);
    });
  }

  /// Adds rows in the order of the batch, so that the bits of a sum do not depend on the number of threads.
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    T* const gradient = call.gradient(segment_[0]);
    if (call.accumulate_segment[0] == 0)
      parallel_for(rows_ * width_, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        std::fill(gradient + begin, gradient + end, T{0});
      });
    const auto add = kernels::active<T>().add;
    const std::int64_t count = call.grad_output.rows * call.grad_output.columns / width_;
    for (std::int64_t i = 0; i < count; ++i) {
      T* const row = gradient + call.integers[0][i] * width_;
      add(row, call.grad_output.data + i * width_, row, width_);
    }
  }

 private:
  int segment_[1];
  std::int64_t rows_, width_;
};

std::shared_ptr<const Operation> make_embedding(const NodeArguments& given) {
  check_attributes(given.attributes, {"num_embeddings", "embedding_dim"});
  if (given.segments.size() != 1) refuse_segments(given, "one");
  return std::make_shared<EmbeddingOperation>(given.segments[0],
                                              size_attribute(given.attributes, "num_embeddings"),
                                              size_attribute(given.attributes, "embedding_dim"));
}

constexpr OperationEntry kEntries[] = {{"embedding", make_embedding, 1, 1}};

}  // namespace

extern const OperationEntries embedding_operations{kEntries};

}  // namespace nncore
