#include "plan_update.hpp"

#include <algorithm>

#include "magnitude.hpp"

namespace nncore {
namespace {

/// A weight with fewer elements stays in the cache: its gradient is stored, and updated with its neighbours.
constexpr std::int64_t kSmallSegment = 1 << 14;

std::size_t at(int index) { return static_cast<std::size_t>(index); }

}  // namespace

template <class T>
NodeCall<T> make_call(const Graph& graph, const Plan& plan, const PlannedStep& step,
                      Parameters<T>& parameters, Workspace<T>& workspace) {
  const std::size_t inputs = graph.node(step.node).inputs.size();
  NodeCall<T> call;
  call.inputs = {workspace.edge_values.data() + step.first_edge, inputs};
  call.integers = {workspace.edge_integers.data() + step.first_edge, inputs};
  call.output = workspace.values[at(step.value)];
  call.fused = step.fused;
  call.input_derivative = {plan.edge_derivative.data() + step.first_edge, inputs};
  call.accumulate_input = {plan.accumulate_edge.data() + step.first_edge, inputs};
  call.parameters = &parameters;
  call.scratch = workspace.scratch;
  return call;
}

template <class T>
PlanUpdate<T>::PlanUpdate(const Graph& graph, const Plan& plan, Parameters<T>& parameters,
                          Workspace<T>& workspace, const Optimizer& optimizer, OptimizerState<T>& state)
    : graph_(graph),
      plan_(plan),
      parameters_(parameters),
      workspace_(workspace),
      update_(optimizer, state, parameters) {
  workspace.ways.assign(parameters.segments().size(), UpdateWay::look);
}

template <class T>
const Segment& PlanUpdate<T>::first_segment(const PlannedStep& step) const {
  return parameters_.segments()[at(operation(step).segments()[0])];
}

template <class T>
UpdateWay& PlanUpdate<T>::way_of(const PlannedStep& step) const {
  return workspace_.ways[at(operation(step).segments()[0])];
}

/// Whether to bound the gradient of a step's first segment reads less than to look at it.
template <class T>
bool PlanUpdate<T>::pays_to_bound(const PlannedStep& step) const {
  if (!step.owns_segment || !first_segment(step).trainable) return false;
  const std::int64_t size = first_segment(step).size();
  const Matrix<const T>& input = workspace_.edge_values[step.first_edge];
  const Matrix<T>& gradient = workspace_.gradients[at(step.value)];
  return size >= kSmallSegment && input.data != nullptr &&
         gradient.rows * (input.columns + gradient.columns) <= size;
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
  const std::int64_t rows = workspace_.gradients[at(step.value)].rows;
  if (!pays_to_bound(step) || !operation(step).fuses_descent(rows)) return false;
  if (update_.descent(first_segment(step)) == T{0}) return false;
  way_of(step) = UpdateWay::descend;
  return true;
}

template <class T>
void PlanUpdate<T>::approve() {
  for (const PlannedStep& step : plan_.steps) {
    if (!pays_to_bound(step)) continue;
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
bool PlanUpdate<T>::is_descending(const PlannedStep& step) const {
  return step.owns_segment && way_of(step) == UpdateWay::descend;
}

template <class T>
void PlanUpdate<T>::run(const PlannedStep* left) {
  for (auto step = plan_.steps.rbegin(); step != plan_.steps.rend(); ++step) {
    if (is_descending(*step) && &*step != left) operation(*step).descend(descent_call(*step));
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

#define NNCORE_INSTANTIATE(T)                                                                   \
  template NodeCall<T> make_call(const Graph&, const Plan&, const PlannedStep&, Parameters<T>&, \
                                 Workspace<T>&);                                                \
  template class PlanUpdate<T>;
NNCORE_INSTANTIATE(float)
NNCORE_INSTANTIATE(double)
#undef NNCORE_INSTANTIATE

}  // namespace nncore
