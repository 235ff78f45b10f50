// Layout: where the arrays of a plan lie in a arena's arena.
#pragma once

#include <cstdint>
#include <span>

#include "graph/arena.hpp"
#include "graph/plan.hpp"

namespace nncore {

/// Lays `arena` out for `rows` rows of a plan (and of targets of these widths); grows the arena where it
/// is too small. Does nothing where it is laid out so already; else what was in it is lost, and it returns
/// true.
template <class T>
bool lay_out(const Graph& graph, const Plan& plan, std::span<const std::int64_t> target_features,
             std::int64_t rows, bool gradients, Arena<T>& arena);

}  // namespace nncore
