// PlanUpdate: the update of one step of a plan - which weights descend while their gradients are formed, and
// whether all that the step would write is finite.
#pragma once

#include <cstdint>

#include "graph/plan.hpp"
#include "nncore/graph.hpp"
#include "nncore/operation.hpp"
#include "nncore/workspace.hpp"
#include "training/store_update.hpp"

namespace nncore {

/// What a planned step's operation is told of a running call, whatever it is called for.
template <class T>
NodeCall<T> make_call(const Graph& graph, const Plan& plan, const PlannedStep& step,
                      Parameters<T>& parameters, Workspace<T>& workspace) {
  const std::size_t inputs = graph.node(step.node).inputs.size();
  NodeCall<T> call;
  call.inputs = {workspace.edge_values.data() + step.first_edge, inputs};
  call.integers = {workspace.edge_integers.data() + step.first_edge, inputs};
  call.output = workspace.values[static_cast<std::size_t>(step.value)];
  if (step.fused.kind != ActivationKind::identity) call.fused = &step.fused;
  const auto index = static_cast<std::size_t>(&step - plan.steps.data());
  call.fused_derivative = workspace.kept_derivatives[index];
  call.saved = workspace.saved[index];
  call.input_derivative = {workspace.edge_derivatives.data() + step.first_edge, inputs};
  call.accumulate_input = {plan.accumulate_edge.data() + step.first_edge, inputs};
  call.parameters = &parameters;
  call.scratch = workspace.scratch;
  return call;
}

/// Fills bounded_steps of a workspace that has just been laid out: the steps of which to bound the gradient
/// of the first segment reads less than to look at it.
template <class T>
void find_bounded_steps(const Graph& graph, const Plan& plan, const Parameters<T>& parameters,
                        Workspace<T>& workspace);

/// Made once the loss is known. Then backward asks `descends` for each step; approve, descend and run follow.
/// All arguments outlive it.
template <class T>
class PlanUpdate {
 public:
  PlanUpdate(const Graph& graph, const Plan& plan, Parameters<T>& parameters, Workspace<T>& workspace,
             const Optimizer& optimizer, OptimizerState<T>& state);

  /// Whether the first segment of a step is to descend while its gradient is formed: backward leaves it out.
  bool descends(const PlannedStep& step);

  /// Makes sure, after backward and before anything is written, that the step leaves all parameters finite.
  /// Where a bound of a gradient is too large, the gradient itself is formed and looked at. Throws NotFinite.
  void approve();

  /// Whether a step's first segment still descends.
  bool is_descending(const PlannedStep& step) const;
  /// Their descents, but for that of `left`, and the update of everything else.
  void run(const PlannedStep* left);
  /// The call of a step's descend, or of the advance of `left`.
  NodeCall<T> descent_call(const PlannedStep& step) const;

 private:
  const Operation& operation(const PlannedStep& step) const { return *graph_.node(step.node).operation; }
  const Segment& first_segment(const PlannedStep& step) const;
  UpdateWay& way_of(const PlannedStep& step) const;
  bool is_bounded(const PlannedStep& step) const;
  double gradient_bound(const PlannedStep& step) const;

  const Graph& graph_;
  const Plan& plan_;
  Parameters<T>& parameters_;
  Workspace<T>& workspace_;
  StoreUpdate<T> update_;
};

}  // namespace nncore
