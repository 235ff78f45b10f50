#include "training/executor.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "functions/reductions.hpp"
#include "graph/layout.hpp"
#include "nncore/not_finite.hpp"
#include "nncore/operation.hpp"
#include "nncore/runtime.hpp"
#include "operations/fused_sgd.hpp"
#include "product/dense.hpp"
#include "runtime/thread_turn.hpp"
#include "training/batch.hpp"
#include "training/staged_state.hpp"

namespace nncore {
namespace {

/// Operations between interrupt checks; small ones do not check for interrupts themselves.
constexpr int kFewSteps = 32;

std::size_t at(int index) { return static_cast<std::size_t>(index); }

}  // namespace

template <class T>
void Executor<T>::load_inputs(const Plan& plan, const Source& source) {
  if (source.measure) arena_.largest_input.assign(graph_.inputs().size(), 0.0);
  for (std::size_t i = 0; i < graph_.inputs().size(); ++i) {
    const int node = graph_.inputs()[i];
    if (plan.value_of[at(node)] < 0) continue;  // this plan does not read it
    const bool in_order = source.rows == nullptr || source.count == 1;
    const std::int64_t* const rows = in_order ? nullptr : source.rows;
    Table table = source.inputs[i];
    if (in_order)
      table = table.row_range(source.rows != nullptr ? source.rows[0] : source.first, source.count);
    if (graph_.node(node).is_integer) {
      gather_rows<std::int64_t>(table, rows, source.count, arena_.integers[at(node)]);
      if (const std::int64_t below = graph_.node(node).integers_below; below > 0)
        check_still_below({"x", i, source.inputs.size()}, arena_.integers[at(node)],
                          source.count * table.columns, below);
      continue;
    }
    const bool in_place =
        !source.keep && in_order && as_gathered<T>(table) != nullptr && plan.is_sink[at(node)] == 0;
    const Matrix<T>& own = arena_.values[at(node)];
    Matrix<const T> value = own;
    if (in_place)
      value.data = as_gathered<T>(table);
    else
      gather_rows<T>(table, rows, source.count, own.data);
    if (source.measure) arena_.largest_input[i] = largest_magnitude(value.data, source.count * own.columns);
    for (const int edge : plan.edges_of(node)) arena_.edge_values[at(edge)] = value;
  }
}

template <class T>
void Executor<T>::run_forward(const Plan& plan, Pass pass) {
  arena_.training = pass.training;
  int steps = 0;
  for (const PlannedStep& step : plan.steps) {
    if (++steps % kFewSteps == 0) check_interrupt();
    if (step.value == pass.ready) continue;
    NodeCall<T> call = make_call<T>({graph_, plan, parameters_, arena_}, step);
    call.finite_values = pass.finite_values;
    graph_.node(step.node).operation->forward(call);
  }
}

template <class T>
void Executor<T>::run_backward(const Plan& plan, bool input_gradients, bool accumulate,
                               PlanUpdate<T>* update) {
  const auto wanted = [&](int value) {
    return plan.reaches_parameters[at(value)] != 0 ||
           (input_gradients && plan.reaches_inputs[at(value)] != 0);
  };
  for (std::size_t edge = 0; edge < plan.edge_value.size(); ++edge) {
    const int value = plan.edge_value[edge];
    arena_.edge_gradients[edge] = wanted(value) ? arena_.gradients[at(value)] : Matrix<T>{};
  }
  if (!accumulate) {  // clears what no step of this plan writes
    for (int i = 0, used = 0; i < static_cast<int>(parameters_.segments().size()); ++i) {
      if (at(used) < plan.segments.size() && plan.segments[at(used)] == i)
        ++used;
      else
        std::fill_n(parameters_.gradient(i).data, parameters_.segments()[at(i)].size(), T{0});
    }
  }
  const std::vector<char>& accumulate_segment = accumulate ? plan.accumulate_all : plan.accumulate_segment;
  int steps = 0;
  for (auto step = plan.steps.rbegin(); step != plan.steps.rend(); ++step) {
    if (!wanted(step->value)) continue;
    if (++steps % kFewSteps == 0) check_interrupt();
    const Matrix<T>& gradient = arena_.gradients[at(step->value)];
    const Operation& operation = *graph_.node(step->node).operation;
    NodeCall<T> call = make_call<T>({graph_, plan, parameters_, arena_}, *step);
    if (call.fused != nullptr && !step->derivative_done) {
      multiply_derivative<T>({call.fused, call.fused_derivative}, call.output, gradient);
    }
    call.grad_output = gradient;
    call.grad_inputs = {arena_.edge_gradients.data() + step->first_edge, call.inputs.size()};
    call.accumulate_segment = {accumulate_segment.data() + step->first_segment_use,
                               operation.segments().size()};
    if (update != nullptr && update->takes(*step))
      operation.fused_sgd(T{})->backward(call);
    else
      operation.backward(call);
  }
}

template <class T>
double Executor<T>::evaluate(const Objective& objective, const Batch& given, bool training, bool gradients,
                             int ready) {
  const Batch batch = taking_part(given, arena_.rows);
  if (training) check_training_rows(objective.plan, batch.count);
  if (lay_out<T>(graph_, objective.plan, objective.target_features, batch.count, gradients, arena_)) {
    ready = -1;
    find_bounded_steps<T>({graph_, objective.plan, parameters_, arena_});
  }
  load_inputs(objective.plan, {batch.inputs, batch.rows, batch.first, batch.count, false, true});
  for (const double largest : arena_.largest_input)
    if (!std::isfinite(largest)) check_inputs<T>(graph_, batch);  // throws, and says where
  run_forward(objective.plan, {.training = training, .ready = ready});
  return run_losses<T>(objective, batch, gradients, arena_);
}

template <class T>
double Executor<T>::step(const Objective& objective, const Batch& batch, const Batch* next,
                         const Optimizer& optimizer, OptimizerState<T>& state, const StepOptions& options,
                         int& ready) {
  const ThreadTurn turn(arena_.step_threads, batch.count);
  const double loss = evaluate(objective, batch, true, true, std::exchange(ready, -1));
  if (!std::isfinite(loss)) {
    throw NotFinite("the loss is " + std::to_string(loss) + " in step " + std::to_string(state.steps + 1) +
                    "; that step was not made");
  }
  const auto has_weight = [](const WeightedLoss& term) { return term.weight > 0.0; };
  if (std::none_of(arena_.term_losses.begin(), arena_.term_losses.end(), has_weight)) return loss;
  const Plan& plan = objective.plan;
  check_staged_state(graph_, plan, parameters_, arena_);
  PlanUpdate<T> update({graph_, plan, parameters_, arena_}, optimizer, options, state);
  run_backward(plan, false, false, &update);
  update.approve();
  const Uninterruptible writing;
  commit_state(graph_, plan, parameters_, arena_);  // before the values that it depends on change
  ready = update.run(batch, next);
  return loss;
}

template class Executor<float>;
template class Executor<double>;

}  // namespace nncore
