#include "training/plan_update.hpp"

#include <algorithm>

#include "functions/magnitude.hpp"

namespace nncore {
namespace {

/// A weight with fewer elements stays in the cache: its gradient is stored, and updated with its neighbours.
constexpr std::int64_t kSmallSegment = 1 << 14;

std::size_t at(int index) { return static_cast<std::size_t>(index); }

}  // namespace

template <class T>
void find_bounded_steps(const Graph& graph, const Plan& plan, const Parameters<T>& parameters,
                        Workspace<T>& workspace) {
  workspace.bounded_steps.clear();
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const PlannedStep& step = plan.steps[i];
    const Matrix<T>& gradient = workspace.gradients[at(step.value)];
    if (!step.owns_segment || gradient.data == nullptr) continue;
    const Matrix<const T>& input = workspace.edge_values[step.first_edge];
    const int segment = graph.node(step.node).operation->segments()[0];
    const std::int64_t size = parameters.segments()[at(segment)].size();
    const bool reads_less = gradient.rows * (input.columns + gradient.columns) <= size;
    if (size >= kSmallSegment && input.data != nullptr && reads_less)
      workspace.bounded_steps.push_back(static_cast<int>(i));
  }
}

template <class T>
PlanUpdate<T>::PlanUpdate(const Graph& graph, const Plan& plan, Parameters<T>& parameters,
                          Workspace<T>& workspace, const Optimizer& optimizer, OptimizerState<T>& state)
    : graph_(graph),
      plan_(plan),
      parameters_(parameters),
      workspace_(workspace),
      update_(optimizer, state, parameters) {
  const bool looks_at_all = workspace.bounded_steps.empty();
  workspace.ways.assign(looks_at_all ? 0 : parameters.segments().size(), UpdateWay::look);
}

template <class T>
const Segment& PlanUpdate<T>::first_segment(const PlannedStep& step) const {
  return parameters_.segments()[at(operation(step).segments()[0])];
}

template <class T>
UpdateWay& PlanUpdate<T>::way_of(const PlannedStep& step) const {
  return workspace_.ways[at(operation(step).segments()[0])];
}

template <class T>
double PlanUpdate<T>::gradient_bound(const PlannedStep& step) const {
  const Matrix<const T>& input = workspace_.edge_values[step.first_edge];
  const Matrix<T>& gradient = workspace_.gradients[at(step.value)];
  const std::vector<int>& inputs = graph_.inputs();
  const auto graph_input = std::find(inputs.begin(), inputs.end(), plan_.edge_value[step.first_edge]);
  const double largest_input =
      graph_input != inputs.end()
          ? workspace_.largest_input[static_cast<std::size_t>(graph_input - inputs.begin())]
          : largest_magnitude(input.data, input.rows * input.columns);
  return operation(step).gradient_bound(
      gradient.rows, largest_input, largest_magnitude<T>(gradient.data, gradient.rows * gradient.columns));
}

template <class T>
bool PlanUpdate<T>::descends(const PlannedStep& step) {
  if (!is_bounded(step)) return false;
  const std::int64_t rows = workspace_.gradients[at(step.value)].rows;
  if (!operation(step).fuses_descent(rows) || update_.descent(first_segment(step)) == T{0}) return false;
  way_of(step) = UpdateWay::descend;
  return true;
}

template <class T>
void PlanUpdate<T>::approve() {
  for (const int index : workspace_.bounded_steps) {
    const PlannedStep& step = plan_.steps[at(index)];
    if (!first_segment(step).trainable) continue;
    UpdateWay& way = way_of(step);
    const bool approved = update_.approves(first_segment(step), gradient_bound(step));
    if (approved && way == UpdateWay::look) way = UpdateWay::bounded;
    if (approved || way != UpdateWay::descend) continue;
    NodeCall<T> call = descent_call(step);
    call.descent = 0;
    operation(step).descend(call);
    way = UpdateWay::look;
  }
  update_.approve(plan_.segments, workspace_.ways);
}

template <class T>
bool PlanUpdate<T>::is_bounded(const PlannedStep& step) const {
  const std::vector<int>& bounded = workspace_.bounded_steps;
  const auto index = static_cast<int>(&step - plan_.steps.data());
  return std::find(bounded.begin(), bounded.end(), index) != bounded.end();
}

template <class T>
bool PlanUpdate<T>::is_descending(const PlannedStep& step) const {
  return is_bounded(step) && way_of(step) == UpdateWay::descend;
}

template <class T>
void PlanUpdate<T>::run(const PlannedStep* left) {
  const std::vector<int>& bounded = workspace_.bounded_steps;
  for (auto index = bounded.rbegin(); index != bounded.rend(); ++index) {
    const PlannedStep& step = plan_.steps[at(*index)];
    if (is_descending(step) && &step != left) operation(step).descend(descent_call(step));
  }
  update_.run(plan_.segments, workspace_.ways);
}

template <class T>
NodeCall<T> PlanUpdate<T>::descent_call(const PlannedStep& step) const {
  NodeCall<T> call = make_call(graph_, plan_, step, parameters_, workspace_);
  call.grad_output = workspace_.gradients[at(step.value)];
  call.descent = update_.descent(first_segment(step));
  return call;
}

#define NNCORE_INSTANTIATE(T)                                                                       \
  template void find_bounded_steps(const Graph&, const Plan&, const Parameters<T>&, Workspace<T>&); \
  template class PlanUpdate<T>;
NNCORE_INSTANTIATE(float)
NNCORE_INSTANTIATE(double)
#undef NNCORE_INSTANTIATE

}  // namespace nncore
