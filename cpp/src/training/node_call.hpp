// A plan in a running call, and the NodeCall that its operations receive.
#pragma once

#include "graph/arena.hpp"
#include "graph/plan.hpp"
#include "nncore/graph.hpp"
#include "nncore/operation.hpp"

namespace nncore {

/// A plan, and the objects that it works on.
template <class T>
struct Running {
  const Graph& graph;
  const Plan& plan;
  Parameters<T>& parameters;
  Arena<T>& arena;

  const Operation& operation(const PlannedStep& step) const { return *graph.node(step.node).operation; }
  int index_of(const PlannedStep& step) const { return static_cast<int>(&step - plan.steps.data()); }
  /// The index of the step's first segment, and the segment itself.
  std::size_t first_segment(const PlannedStep& step) const {
    return static_cast<std::size_t>(operation(step).segments()[0]);
  }
  const Segment& segment(const PlannedStep& step) const { return parameters.segments()[first_segment(step)]; }
  const Matrix<T>& gradient(const PlannedStep& step) const {
    return arena.gradients[static_cast<std::size_t>(step.value)];
  }
};

/// The NodeCall of a planned step, with the fields that every pass needs.
template <class T>
NodeCall<T> make_call(const Running<T>& at_work, const PlannedStep& step) {
  const auto& [graph, plan, parameters, arena] = at_work;
  const std::size_t inputs = graph.node(step.node).inputs.size();
  NodeCall<T> call;
  call.inputs = {arena.edge_values.data() + step.first_edge, inputs};
  call.integers = {arena.edge_integers.data() + step.first_edge, inputs};
  call.output = arena.values[static_cast<std::size_t>(step.value)];
  if (step.fused.kind != ActivationKind::identity) call.fused = &step.fused;
  const auto index = static_cast<std::size_t>(at_work.index_of(step));
  call.fused_derivative = arena.kept_derivatives[index];
  call.saved = arena.saved[index];
  call.input_derivative = {arena.edge_derivatives.data() + step.first_edge, inputs};
  call.accumulate_input = {plan.accumulate_edge.data() + step.first_edge, inputs};
  call.parameters = &parameters;
  call.seed = parameters.seed;
  call.random_step = parameters.random_step;
  call.node = step.node;
  call.training = arena.training;
  call.scratch = arena.scratch;
  return call;
}

}  // namespace nncore
