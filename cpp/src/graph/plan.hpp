// Plan: what the executor does with a graph, decided once - which nodes run, what is fused, where gradients
// meet.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nncore/activations.hpp"
#include "nncore/graph.hpp"

namespace nncore {

/// One operation to run. Its result lives in the buffer of node `value`: its own, or that of the activation
/// fused into it.
struct PlannedStep {
  int node;
  int value;
  Activation fused = ActivationKind::identity;
  /// Backward: dL/d(value) has already been multiplied by the fused activation's derivative.
  bool derivative_done = false;
  std::size_t first_edge = 0;         ///< its inputs are edges first_edge, first_edge + 1, ...
  std::size_t first_segment_use = 0;  ///< likewise its segments
  /// No other use of its first segment: a step may update that as soon as its gradient is known.
  bool owns_segment = false;

  /// Whether forward keeps the fused activation's derivative for backward.
  bool keeps_derivative() const { return fused.kind != ActivationKind::identity && reads_input(fused); }
};

struct Plan {
  std::uint64_t id = 0;  ///< no two plans of a process share one: workspaces remember it

  std::vector<PlannedStep> steps;  ///< forward order; backward runs them from the last
  std::vector<int> sinks;          ///< nodes whose gradient comes from outside
  std::vector<char> is_sink;       ///< per node

  std::vector<int> value_of;  ///< per node: the buffer that holds its value; -1: never there
  /// Per node: whether parameters, or float inputs, lie upstream (so that a gradient is worth having).
  std::vector<char> reaches_parameters, reaches_inputs;

  // Per edge (step, input).
  std::vector<int> edge_value;             ///< the buffer it reads
  std::vector<int> edges_by_value;         ///< all edges, those that read one buffer together
  std::vector<char> accumulate_edge;       ///< backward: others have written its gradient before
  std::vector<int> edge_derivative;        ///< backward: the step whose fused activation made it; -1: none
  std::vector<std::size_t> first_edge_of;  ///< per node, and one more: where its own start among those
  std::vector<char> accumulate_sink;       ///< per sink
  std::vector<char> accumulate_segment;    ///< per segment use
  std::vector<char> accumulate_all;        ///< the same, for adding to gradients that are there
  std::vector<int> segments;               ///< used by any step, ascending
  std::vector<int> stateful_steps;         ///< those whose operations have state, in forward order
  std::int64_t fewest_training_rows = 1;   ///< of any step

  /// The edges that read the buffer of a node.
  std::span<const int> edges_of(int node) const {
    const auto index = static_cast<std::size_t>(node);
    return std::span(edges_by_value)
        .subspan(first_edge_of[index], first_edge_of[index + 1] - first_edge_of[index]);
  }
};

/// The plan that computes `sinks` (and nothing else), and their gradients back to parameters and inputs.
Plan make_plan(const Graph& graph, std::span<const int> sinks);

}  // namespace nncore
