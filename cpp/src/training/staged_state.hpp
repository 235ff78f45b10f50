// What a forward pass for training stages, and a step that is made commits: running statistics, and the
// number of passes, on which random numbers depend.
#pragma once

#include "graph/arena.hpp"
#include "graph/plan.hpp"
#include "nncore/graph.hpp"
#include "nncore/parameters.hpp"

namespace nncore {

/// Throws NotFinite, naming the node, if commit_state would write a number that is not finite.
template <class T>
void check_staged_state(const Graph& graph, const Plan& plan, Parameters<T>& parameters, Arena<T>& arena);

/// Writes what operations have staged, in the order of the nodes, and counts the pass.
template <class T>
void commit_state(const Graph& graph, const Plan& plan, Parameters<T>& parameters, Arena<T>& arena);

}  // namespace nncore
