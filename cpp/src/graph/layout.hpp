// Layout: where the arrays of a plan lie in an arena.
#pragma once

#include <cstdint>
#include <span>

#include "graph/arena.hpp"
#include "graph/plan.hpp"

namespace nncore {

/// Lays `arena` out for `rows` rows of a plan and of targets of these widths, and grows it if it is too
/// small. Returns false, and does nothing, if it is already laid out so. Otherwise its contents are lost.
template <class T>
bool lay_out(const Graph& graph, const Plan& plan, std::span<const std::int64_t> target_features,
             std::int64_t rows, bool gradients, Arena<T>& arena);

}  // namespace nncore
