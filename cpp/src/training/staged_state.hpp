// What a forward pass for training leaves to be written once its step is made: running statistics, and the
// number of the next random numbers.
#pragma once

#include "graph/arena.hpp"
#include "graph/plan.hpp"
#include "nncore/graph.hpp"
#include "nncore/parameters.hpp"

namespace nncore {

/// Throws NotFinite, naming the node, where commit_state would write a number that is not finite.
template <class T>
void check_staged_state(const Graph& graph, const Plan& plan, Parameters<T>& parameters, Arena<T>& arena);

/// Writes what operations have staged, in the order of the nodes.
template <class T>
void commit_state(const Graph& graph, const Plan& plan, Parameters<T>& parameters, Arena<T>& arena);

}  // namespace nncore
