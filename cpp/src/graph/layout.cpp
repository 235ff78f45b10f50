#include "graph/layout.hpp"

#include <algorithm>
#include <stdexcept>

#include "functions/join.hpp"
#include "nncore/operation.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

/// More bytes than any memory has, yet few enough that sums of several such numbers cannot overflow.
constexpr std::int64_t kMostBytes = std::int64_t{1} << 55;

/// Throws std::length_error if the values of all nodes need more than kMostBytes. Otherwise all sizes that
/// are laid out per node and per row fit 64 bits.
void check_size(const Graph& graph, std::int64_t rows) {
  std::int64_t row_bytes = 0;
  for (const Node& node : graph.nodes())
    row_bytes += node.features * static_cast<std::int64_t>(sizeof(double));
  if (rows > kMostBytes / row_bytes)
    throw std::length_error(join("a batch must have at most ", kMostBytes / row_bytes,
                                 " rows, because the values of a larger one exceed any memory; got ", rows));
}

/// Hands out aligned pieces of memory one after the other; with a null base it only counts their bytes.
class Pieces {
 public:
  explicit Pieces(std::byte* base) : base_(base) {}

  template <class U>
  U* take(std::int64_t count) {
    const std::int64_t start = used_;
    used_ += (count * static_cast<std::int64_t>(sizeof(U)) + 63) / 64 * 64;
    return base_ != nullptr ? reinterpret_cast<U*>(base_ + start) : nullptr;
  }
  std::int64_t used() const { return used_; }

 private:
  std::byte* base_;
  std::int64_t used_ = 0;
};

template <class T>
void place(const Graph& graph, const Plan& plan, std::span<const std::int64_t> target_features,
           std::int64_t rows, bool gradients, Pieces& pieces, Arena<T>& arena) {
  const auto matrix = [&](std::int64_t features) {
    return Matrix<T>{pieces.take<T>(rows * features), rows, features};
  };
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    arena.values[i] = {};
    arena.gradients[i] = {};
    arena.integers[i] = nullptr;
    if (plan.value_of[i] != static_cast<int>(i)) continue;  // not computed, or in another node's buffer
    const Node& node = graph.nodes()[i];
    if (node.is_integer) {
      arena.integers[i] = pieces.take<std::int64_t>(rows * node.features);
      continue;
    }
    arena.values[i] = matrix(node.features);
    if (gradients && (plan.reaches_parameters[i] != 0 || plan.reaches_inputs[i] != 0)) {
      arena.gradients[i] = matrix(node.features);
    }
  }
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const PlannedStep& step = plan.steps[i];
    const Node& node = graph.node(step.node);
    const bool keeps = gradients && step.keeps_derivative();
    arena.kept_derivatives[i] = keeps ? matrix(node.features) : Matrix<T>{};
    const std::int64_t bytes = gradients ? node.operation->saved_bytes(rows, node.features, sizeof(T)) : 0;
    arena.saved[i] = bytes > 0 ? pieces.take<std::byte>(bytes) : nullptr;
  }
  for (std::size_t i = 0; i < target_features.size(); ++i) {
    arena.targets[i] = matrix(target_features[i]);
    arena.labels[i] = pieces.take<std::int64_t>(rows);
  }
  arena.user_weight = pieces.take<double>(target_features.empty() ? 0 : rows);
  arena.sample_weight = pieces.take<T>(target_features.empty() ? 0 : rows);
  arena.scratch.data = pieces.take<std::byte>(arena.scratch.bytes_per_worker * arena.scratch.workers);
  for (std::size_t edge = 0; edge < plan.edge_value.size(); ++edge) {
    const std::size_t value = at(plan.edge_value[edge]);
    arena.edge_values[edge] = arena.values[value];
    arena.edge_gradients[edge] = arena.gradients[value];
    arena.edge_integers[edge] = arena.integers[value];
    arena.edge_derivatives[edge] = {};
    if (const int maker = plan.edge_derivative[edge]; maker >= 0)
      arena.edge_derivatives[edge] = {&plan.steps[at(maker)].fused, arena.kept_derivatives[at(maker)]};
  }
}

}  // namespace

template <class T>
bool lay_out(const Graph& graph, const Plan& plan, std::span<const std::int64_t> target_features,
             std::int64_t rows, bool gradients, Arena<T>& arena) {
  const typename Arena<T>::Layout layout{plan.id, rows, num_threads(), gradients};
  arena.ran_forward = false;
  if (arena.layout == layout) return false;
  check_size(graph, rows);
  arena.layout = {};  // until all pointers are set: allocation may fail
  arena.values.resize(graph.nodes().size());
  arena.gradients.resize(graph.nodes().size());
  arena.integers.resize(graph.nodes().size());
  arena.edge_values.resize(plan.edge_value.size());
  arena.edge_gradients.resize(plan.edge_value.size());
  arena.edge_integers.resize(plan.edge_value.size());
  arena.edge_derivatives.resize(plan.edge_value.size());
  arena.kept_derivatives.resize(plan.steps.size());
  arena.saved.resize(plan.steps.size());
  arena.targets.resize(target_features.size());
  arena.labels.resize(target_features.size());
  arena.scratch = {nullptr, 0, layout.workers};
  for (const PlannedStep& step : plan.steps) {
    const Node& node = graph.node(step.node);
    arena.scratch.bytes_per_worker =
        std::max(arena.scratch.bytes_per_worker, node.operation->scratch_bytes(rows, node.features));
  }
  Pieces count(nullptr);
  place(graph, plan, target_features, rows, gradients, count, arena);
  arena.memory.reserve(count.used());
  Pieces pieces(arena.memory.data());
  place(graph, plan, target_features, rows, gradients, pieces, arena);
  arena.layout = layout;
  return true;
}

template bool lay_out<float>(const Graph&, const Plan&, std::span<const std::int64_t>, std::int64_t, bool,
                             Arena<float>&);
template bool lay_out<double>(const Graph&, const Plan&, std::span<const std::int64_t>, std::int64_t, bool,
                              Arena<double>&);

}  // namespace nncore
