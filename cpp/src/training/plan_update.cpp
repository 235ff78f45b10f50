#include "training/plan_update.hpp"

#include <algorithm>

#include "functions/reductions.hpp"
#include "operations/fused_sgd.hpp"

namespace nncore {
namespace {

/// Smaller weights stay in the cache: their gradients are stored, and neighbors are updated together.
constexpr std::int64_t kSmallSegment = 1 << 14;

}  // namespace

template <class T>
void find_bounded_steps(const Running<T>& at_work) {
  at_work.arena.bounded_steps.clear();
  for (const PlannedStep& step : at_work.plan.steps) {
    const Matrix<T>& gradient = at_work.gradient(step);
    if (!step.owns_segment || gradient.data == nullptr) continue;
    if (at_work.operation(step).fused_sgd(T{}) == nullptr) continue;
    const Matrix<const T>& input = at_work.arena.edge_values[step.first_edge];
    const std::int64_t size = at_work.segment(step).size();
    const bool reads_less = gradient.rows * (input.columns + gradient.columns) <= size;
    if (size >= kSmallSegment && input.data != nullptr && reads_less)
      at_work.arena.bounded_steps.push_back(at_work.index_of(step));
  }
}

template <class T>
PlanUpdate<T>::PlanUpdate(const Running<T>& at_work, const Optimizer& optimizer, const StepOptions& options,
                          OptimizerState<T>& state)
    : at_work_(at_work),
      state_(state),
      transforms_(options.transforms),
      update_(optimizer, options.factors, state, at_work.parameters),
      fusion_(at_work, bounded_steps(), update_) {
  at_work.arena.ways.assign(bounded_steps().empty() ? 0 : at_work.parameters.segments().size(),
                            UpdateWay::look);
}

template <class T>
double PlanUpdate<T>::gradient_bound(const PlannedStep& step) const {
  const auto& [graph, plan, parameters, arena] = at_work_;
  const Matrix<const T>& input = arena.edge_values[step.first_edge];
  const Matrix<T>& gradient = at_work_.gradient(step);
  const std::vector<int>& inputs = graph.inputs();
  const auto graph_input = std::find(inputs.begin(), inputs.end(), plan.edge_value[step.first_edge]);
  const double largest_input =
      graph_input != inputs.end()
          ? arena.largest_input[static_cast<std::size_t>(graph_input - inputs.begin())]
          : largest_magnitude(input.data, input.rows * input.columns);
  return at_work_.operation(step).fused_sgd(T{})->gradient_bound(
      gradient.rows, largest_input, largest_magnitude<T>(gradient.data, gradient.rows * gradient.columns));
}

template <class T>
bool PlanUpdate<T>::takes(const PlannedStep& step) {
  const std::span<const int> bounded = bounded_steps();
  return std::binary_search(bounded.begin(), bounded.end(), at_work_.index_of(step)) && fusion_.take(step);
}

template <class T>
void PlanUpdate<T>::approve() {
  const auto& [graph, plan, parameters, arena] = at_work_;
  const TransformCall<T> call{parameters, state_, plan.segments};
  for (const auto& transform : transforms_) transform->change_gradients(call);
  for (const int index : bounded_steps()) {
    const PlannedStep& step = plan.steps[static_cast<std::size_t>(index)];
    const Segment& like = at_work_.segment(step);
    if (!like.trainable) continue;
    const std::size_t segment = at_work_.first_segment(step);
    UpdateWay& way = arena.ways[segment];
    const bool approved = update_.approves(like, parameters.offset(static_cast<int>(segment)), like.size(),
                                           gradient_bound(step));
    if (approved && way == UpdateWay::look) way = UpdateWay::bounded;
    if (!approved && way == UpdateWay::fused) fusion_.give_back(step);
  }
  update_.approve(plan.segments, arena.ways);
}

template <class T>
int PlanUpdate<T>::run(const Batch& batch, const Batch* next) {
  const auto& [graph, plan, parameters, arena] = at_work_;
  const Ahead<T> ahead = next != nullptr ? fusion_.look_ahead(batch, *next) : Ahead<T>{};
  fusion_.run(ahead);
  update_.run(plan.segments, arena.ways);
  fusion_.advance(ahead);
  const TransformCall<T> call{parameters, state_, plan.segments};
  for (const auto& transform : transforms_) transform->follow(call);
  return ahead.step != nullptr ? ahead.step->value : -1;
}

template void find_bounded_steps(const Running<float>&);
template void find_bounded_steps(const Running<double>&);
template class PlanUpdate<float>;
template class PlanUpdate<double>;

}  // namespace nncore
