#include "graph/plan.hpp"

#include <algorithm>
#include <atomic>
#include <map>
#include <numeric>

#include "nncore/operation.hpp"

namespace nncore {
namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

std::vector<char> find_needed(const Graph& graph, std::span<const int> sinks) {
  std::vector<char> needed(graph.nodes().size(), 0);
  for (const int sink : sinks) needed[at(sink)] = 1;
  for (int i = static_cast<int>(graph.nodes().size()) - 1; i >= 0; --i) {
    if (needed[at(i)] == 0) continue;
    for (const int input : graph.node(i).inputs) needed[at(input)] = 1;
  }
  return needed;
}

/// The activation node that can be fused into node `index`, and so runs while the result is hot; -1 if there
/// is none. It must be elementwise and the only needed reader of `index`, which must not be a sink.
int find_fused_reader(const Graph& graph, const std::vector<char>& is_sink, const std::vector<char>& needed,
                      int index) {
  const Node& node = graph.node(index);
  if (node.operation == nullptr || !node.operation->fuses_activation() || is_sink[at(index)] != 0) return -1;
  int only = -1;
  for (const int reader : graph.readers(index)) {
    if (needed[at(reader)] == 0) continue;
    if (only >= 0) return -1;
    only = reader;
  }
  if (only < 0) return -1;
  const auto activation = graph.node(only).operation->activation();
  return activation && entry_of(activation->kind).is_elementwise ? only : -1;
}

void plan_forward(const Graph& graph, const std::vector<char>& needed, Plan& plan) {
  for (int i = 0; i < static_cast<int>(graph.nodes().size()); ++i) {
    const Node& node = graph.node(i);
    if (needed[at(i)] == 0 || plan.value_of[at(i)] >= 0) continue;  // fused into an earlier step
    plan.value_of[at(i)] = i;
    if (node.operation == nullptr) {
      plan.reaches_inputs[at(i)] = node.is_integer ? 0 : 1;
      continue;
    }
    PlannedStep step{i, i};
    if (const int reader = find_fused_reader(graph, plan.is_sink, needed, i); reader >= 0) {
      step.value = reader;
      step.fused = *graph.node(reader).operation->activation();
      plan.value_of[at(i)] = plan.value_of[at(reader)] = reader;
    }
    step.first_edge = plan.edge_value.size();
    step.first_segment_use = plan.accumulate_segment.size();
    plan.accumulate_segment.resize(step.first_segment_use + node.operation->segments().size());
    char& parameters = plan.reaches_parameters[at(step.value)];
    char& inputs = plan.reaches_inputs[at(step.value)];
    parameters = node.operation->segments().empty() ? 0 : 1;
    for (const int input : node.inputs) {
      const int value = plan.value_of[at(input)];
      plan.edge_value.push_back(value);
      parameters = static_cast<char>(parameters | plan.reaches_parameters[at(value)]);
      inputs = static_cast<char>(inputs | plan.reaches_inputs[at(value)]);
    }
    if (!node.operation->state_segments().empty())
      plan.stateful_steps.push_back(static_cast<int>(plan.steps.size()));
    plan.fewest_training_rows = std::max(plan.fewest_training_rows, node.operation->fewest_training_rows());
    plan.steps.push_back(step);
  }
}

/// Groups the edges by the buffer that they read.
void sort_edges(Plan& plan) {
  plan.first_edge_of.assign(plan.value_of.size() + 1, 0);
  for (const int value : plan.edge_value) ++plan.first_edge_of[at(value) + 1];
  std::partial_sum(plan.first_edge_of.begin(), plan.first_edge_of.end(), plan.first_edge_of.begin());
  std::vector<std::size_t> next(plan.first_edge_of.begin(), plan.first_edge_of.end() - 1);
  plan.edges_by_value.resize(plan.edge_value.size());
  for (std::size_t edge = 0; edge < plan.edge_value.size(); ++edge)
    plan.edges_by_value[next[at(plan.edge_value[edge])]++] = static_cast<int>(edge);
}

/// Walks backward as the executor will, and notes which writer of each gradient comes first.
void plan_backward(const Graph& graph, Plan& plan) {
  std::vector<int> writers(graph.nodes().size(), 0);
  for (const int sink : plan.sinks) plan.accumulate_sink.push_back(writers[at(sink)]++ > 0);
  plan.accumulate_edge.assign(plan.edge_value.size(), 0);
  plan.edge_derivative.assign(plan.edge_value.size(), -1);
  std::map<int, int> uses;  // of each segment
  for (auto step = plan.steps.rbegin(); step != plan.steps.rend(); ++step) {
    const Operation& operation = *graph.node(step->node).operation;
    for (std::size_t i = 0; i < graph.node(step->node).inputs.size(); ++i) {
      const std::size_t edge = step->first_edge + i;
      plan.accumulate_edge[edge] = writers[at(plan.edge_value[edge])]++ > 0;
    }
    for (std::size_t i = 0; i < operation.segments().size(); ++i) {
      plan.accumulate_segment[step->first_segment_use + i] = uses[operation.segments()[i]]++ > 0;
    }
  }
  plan.accumulate_all.assign(plan.accumulate_segment.size(), 1);
  for (const auto& [segment, count] : uses) plan.segments.push_back(segment);
  for (PlannedStep& step : plan.steps) {
    const std::span<const int> segments = graph.node(step.node).operation->segments();
    step.owns_segment = !segments.empty() && uses[segments[0]] == 1;
  }

  // The only writer of a gradient may multiply it by the derivative of the activation that made the value.
  std::vector<int> maker_of(graph.nodes().size(), -1);  // the step that makes each value
  for (std::size_t i = 0; i < plan.steps.size(); ++i) maker_of[at(plan.steps[i].value)] = static_cast<int>(i);
  for (const PlannedStep& reader : plan.steps) {
    if (!graph.node(reader.node).operation->fuses_activation()) continue;
    for (std::size_t i = 0; i < graph.node(reader.node).inputs.size(); ++i) {
      const std::size_t edge = reader.first_edge + i;
      const int value = plan.edge_value[edge];
      const int maker = maker_of[at(value)];
      if (writers[at(value)] != 1 || maker < 0) continue;
      if (plan.steps[at(maker)].fused.kind == ActivationKind::identity) continue;
      plan.edge_derivative[edge] = maker;
      plan.steps[at(maker)].derivative_done = true;
    }
  }
}

}  // namespace

Plan make_plan(const Graph& graph, std::span<const int> sinks) {
  static std::atomic<std::uint64_t> plans{0};
  Plan plan;
  plan.id = ++plans;
  plan.sinks.assign(sinks.begin(), sinks.end());
  plan.is_sink.assign(graph.nodes().size(), 0);
  for (const int sink : sinks) plan.is_sink[at(sink)] = 1;
  plan.value_of.assign(graph.nodes().size(), -1);
  plan.reaches_parameters.assign(graph.nodes().size(), 0);
  plan.reaches_inputs.assign(graph.nodes().size(), 0);
  plan_forward(graph, find_needed(graph, sinks), plan);
  sort_edges(plan);
  plan_backward(graph, plan);
  return plan;
}

}  // namespace nncore
