#include "graph/layout.hpp"

#include <algorithm>

#include "nncore/operation.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

/// Hands out aligned pieces one after the other; without memory (base null) it only counts.
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
           std::int64_t rows, bool gradients, Pieces& pieces, Workspace<T>& workspace) {
  const auto matrix = [&](std::int64_t features) {
    return Matrix<T>{pieces.take<T>(rows * features), rows, features};
  };
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    workspace.values[i] = {};
    workspace.gradients[i] = {};
    workspace.integers[i] = nullptr;
    if (plan.value_of[i] != static_cast<int>(i)) continue;  // not computed, or in another node's buffer
    const Node& node = graph.nodes()[i];
    if (node.is_integer) {
      workspace.integers[i] = pieces.take<std::int64_t>(rows * node.features);
      continue;
    }
    workspace.values[i] = matrix(node.features);
    if (gradients && (plan.reaches_parameters[i] != 0 || plan.reaches_inputs[i] != 0)) {
      workspace.gradients[i] = matrix(node.features);
    }
  }
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const PlannedStep& step = plan.steps[i];
    const Node& node = graph.node(step.node);
    const bool keeps = gradients && step.keeps_derivative();
    workspace.kept_derivatives[i] = keeps ? matrix(node.features) : Matrix<T>{};
    const std::int64_t bytes = gradients ? node.operation->saved_bytes(rows, node.features, sizeof(T)) : 0;
    workspace.saved[i] = bytes > 0 ? pieces.take<std::byte>(bytes) : nullptr;
  }
  for (std::size_t i = 0; i < target_features.size(); ++i) {
    workspace.targets[i] = matrix(target_features[i]);
    workspace.labels[i] = pieces.take<std::int64_t>(rows);
  }
  workspace.user_weight = pieces.take<double>(target_features.empty() ? 0 : rows);
  workspace.sample_weight = pieces.take<T>(target_features.empty() ? 0 : rows);
  workspace.scratch.data =
      pieces.take<std::byte>(workspace.scratch.bytes_per_worker * workspace.scratch.workers);
  for (std::size_t edge = 0; edge < plan.edge_value.size(); ++edge) {
    const std::size_t value = at(plan.edge_value[edge]);
    workspace.edge_values[edge] = workspace.values[value];
    workspace.edge_gradients[edge] = workspace.gradients[value];
    workspace.edge_integers[edge] = workspace.integers[value];
    workspace.edge_derivatives[edge] = {};
    if (const int maker = plan.edge_derivative[edge]; maker >= 0)
      workspace.edge_derivatives[edge] = {&plan.steps[at(maker)].fused,
                                          workspace.kept_derivatives[at(maker)]};
  }
}

}  // namespace

template <class T>
bool lay_out(const Graph& graph, const Plan& plan, std::span<const std::int64_t> target_features,
             std::int64_t rows, bool gradients, Workspace<T>& workspace) {
  const typename Workspace<T>::Layout layout{plan.id, rows, num_threads(), gradients};
  workspace.ran_forward = false;
  if (workspace.layout == layout) return false;
  workspace.layout = {};  // until all pointers are right: memory may run out before
  workspace.values.resize(graph.nodes().size());
  workspace.gradients.resize(graph.nodes().size());
  workspace.integers.resize(graph.nodes().size());
  workspace.edge_values.resize(plan.edge_value.size());
  workspace.edge_gradients.resize(plan.edge_value.size());
  workspace.edge_integers.resize(plan.edge_value.size());
  workspace.edge_derivatives.resize(plan.edge_value.size());
  workspace.kept_derivatives.resize(plan.steps.size());
  workspace.saved.resize(plan.steps.size());
  workspace.targets.resize(target_features.size());
  workspace.labels.resize(target_features.size());
  workspace.scratch = {nullptr, 0, layout.workers};
  for (const PlannedStep& step : plan.steps) {
    const Node& node = graph.node(step.node);
    workspace.scratch.bytes_per_worker =
        std::max(workspace.scratch.bytes_per_worker, node.operation->scratch_bytes(rows, node.features));
  }
  Pieces count(nullptr);
  place(graph, plan, target_features, rows, gradients, count, workspace);
  workspace.arena.reserve(count.used());
  Pieces pieces(workspace.arena.data());
  place(graph, plan, target_features, rows, gradients, pieces, workspace);
  workspace.layout = layout;
  return true;
}

template bool lay_out<float>(const Graph&, const Plan&, std::span<const std::int64_t>, std::int64_t, bool,
                             Workspace<float>&);
template bool lay_out<double>(const Graph&, const Plan&, std::span<const std::int64_t>, std::int64_t, bool,
                              Workspace<double>&);

}  // namespace nncore
