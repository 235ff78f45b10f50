// Plan: what the executor does with a graph, decided once: which nodes run, what is fused, and where
// gradients add up.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nncore/activations.hpp"
#include "nncore/graph.hpp"

namespace nncore {

/// One operation to run. Its result lies in the buffer of node `value`: of its own node, or of the activation
/// fused into it.
struct PlannedStep {
  int node;
  int value;
  Activation fused = ActivationKind::identity;
  /// Backward: dL/d(value) arrives already multiplied by the fused activation's derivative.
  bool derivative_done = false;
  std::size_t first_edge = 0;         ///< its inputs are edges first_edge, first_edge + 1, ...
  std::size_t first_segment_use = 0;  ///< likewise its segments
  /// Nothing else uses its first segment, which may be updated as soon as its gradient is known.
  bool owns_segment = false;

  /// Whether forward keeps the fused activation's derivative for backward.
  bool keeps_derivative() const { return fused.kind != ActivationKind::identity && reads_input(fused); }
};

struct Plan {
  std::uint64_t id = 0;  ///< unique within the process: workspaces remember it

  std::vector<PlannedStep> steps;  ///< forward order; backward runs them from the last
  std::vector<int> sinks;          ///< nodes whose gradient comes from outside
  std::vector<char> is_sink;       ///< per node

  std::vector<int> value_of;  ///< per node: the buffer that holds its value; -1: not computed
  /// Per node: whether parameters, or float inputs, lie upstream, so that its gradient is needed.
  std::vector<char> reaches_parameters, reaches_inputs;

  // Per edge (step, input).
  std::vector<int> edge_value;        ///< the buffer it reads
  std::vector<int> edges_by_value;    ///< all edges, grouped by the buffer that they read
  std::vector<char> accumulate_edge;  ///< backward: adds to a gradient already written
  std::vector<int> edge_derivative;   ///< backward: the step whose fused activation made its value; -1: none
  std::vector<std::size_t> first_edge_of;  ///< per node and end: where its edges start in edges_by_value
  std::vector<char> accumulate_sink;       ///< per sink
  std::vector<char> accumulate_segment;    ///< per segment use
  std::vector<char> accumulate_all;        ///< the same, when adding to existing gradients
  std::vector<int> segments;               ///< used by any step, ascending
  std::vector<int> stateful_steps;         ///< steps whose operations have state, in forward order
  std::int64_t fewest_training_rows = 1;   ///< the most that any step needs

  /// The edges that read the buffer of a node.
  std::span<const int> edges_of(int node) const {
    const auto index = static_cast<std::size_t>(node);
    return std::span(edges_by_value)
        .subspan(first_edge_of[index], first_edge_of[index + 1] - first_edge_of[index]);
  }
};

/// The plan that computes `sinks` and nothing else, and propagates their gradients to parameters and inputs.
Plan make_plan(const Graph& graph, std::span<const int> sinks);

}  // namespace nncore
