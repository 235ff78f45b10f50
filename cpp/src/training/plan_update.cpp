#include "training/plan_update.hpp"

#include <algorithm>

#include "functions/magnitude.hpp"
#include "operations/fused_sgd.hpp"

namespace nncore {
namespace {

/// A weight with fewer elements stays in the cache: its gradient is stored, and updated with its neighbours.
constexpr std::int64_t kSmallSegment = 1 << 14;

std::size_t at(int index) { return static_cast<std::size_t>(index); }

}  // namespace

template <class T>
void find_bounded_steps(const Graph& graph, const Plan& plan, const Parameters<T>& parameters,
                        Arena<T>& arena) {
  arena.bounded_steps.clear();
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const PlannedStep& step = plan.steps[i];
    const Matrix<T>& gradient = arena.gradients[at(step.value)];
    if (!step.owns_segment || gradient.data == nullptr) continue;
    if (graph.node(step.node).operation->fused_sgd() == nullptr) continue;
    const Matrix<const T>& input = arena.edge_values[step.first_edge];
    const int segment = graph.node(step.node).operation->segments()[0];
    const std::int64_t size = parameters.segments()[at(segment)].size();
    const bool reads_less = gradient.rows * (input.columns + gradient.columns) <= size;
    if (size >= kSmallSegment && input.data != nullptr && reads_less)
      arena.bounded_steps.push_back(static_cast<int>(i));
  }
}

template <class T>
PlanUpdate<T>::PlanUpdate(const Graph& graph, const Plan& plan, Parameters<T>& parameters, Arena<T>& arena,
                          const Optimizer& optimizer, const StepOptions& options, OptimizerState<T>& state)
    : graph_(graph),
      plan_(plan),
      parameters_(parameters),
      arena_(arena),
      state_(state),
      transforms_(options.transforms),
      bounded_steps_(transforms_.empty() ? std::span<const int>(arena.bounded_steps)
                                         : std::span<const int>()),
      update_(optimizer, options.factors, state, parameters),
      fusion_(graph, plan, parameters, arena, bounded_steps_, update_) {
  arena.ways.assign(bounded_steps_.empty() ? 0 : parameters.segments().size(), UpdateWay::look);
}

template <class T>
double PlanUpdate<T>::gradient_bound(const PlannedStep& step) const {
  const Matrix<const T>& input = arena_.edge_values[step.first_edge];
  const Matrix<T>& gradient = arena_.gradients[at(step.value)];
  const std::vector<int>& inputs = graph_.inputs();
  const auto graph_input = std::find(inputs.begin(), inputs.end(), plan_.edge_value[step.first_edge]);
  const double largest_input =
      graph_input != inputs.end()
          ? arena_.largest_input[static_cast<std::size_t>(graph_input - inputs.begin())]
          : largest_magnitude(input.data, input.rows * input.columns);
  return operation(step).fused_sgd()->gradient_bound(
      gradient.rows, largest_input, largest_magnitude<T>(gradient.data, gradient.rows * gradient.columns));
}

template <class T>
bool PlanUpdate<T>::takes(const PlannedStep& step) {
  return is_bounded(step) && fusion_.take(step);
}

template <class T>
void PlanUpdate<T>::approve() {
  const TransformCall<T> call{parameters_, state_, plan_.segments};
  for (const auto& transform : transforms_) transform->change_gradients(call);
  for (const int index : bounded_steps_) {
    const PlannedStep& step = plan_.steps[at(index)];
    const int segment = operation(step).segments()[0];
    const Segment& like = parameters_.segments()[at(segment)];
    if (!like.trainable) continue;
    UpdateWay& way = arena_.ways[at(segment)];
    const bool approved =
        update_.approves(like, parameters_.offset(segment), like.size(), gradient_bound(step));
    if (approved && way == UpdateWay::look) way = UpdateWay::bounded;
    if (!approved && way == UpdateWay::fused) fusion_.give_back(step);
  }
  update_.approve(plan_.segments, arena_.ways);
}

template <class T>
bool PlanUpdate<T>::is_bounded(const PlannedStep& step) const {
  const auto index = static_cast<int>(&step - plan_.steps.data());
  return std::binary_search(bounded_steps_.begin(), bounded_steps_.end(), index);
}

template <class T>
int PlanUpdate<T>::run(const Batch& batch, const Batch* next) {
  const Ahead<T> ahead = next != nullptr ? fusion_.look_ahead(batch, *next) : Ahead<T>{};
  fusion_.run(ahead);
  update_.run(plan_.segments, arena_.ways);
  fusion_.advance(ahead);
  const TransformCall<T> call{parameters_, state_, plan_.segments};
  for (const auto& transform : transforms_) transform->follow(call);
  return ahead.step != nullptr ? ahead.step->value : -1;
}

#define NNCORE_INSTANTIATE(T)                                                                   \
  template void find_bounded_steps(const Graph&, const Plan&, const Parameters<T>&, Arena<T>&); \
  template class PlanUpdate<T>;
NNCORE_INSTANTIATE(float)
NNCORE_INSTANTIATE(double)
#undef NNCORE_INSTANTIATE

}  // namespace nncore
