#include "training/staged_state.hpp"

#include "nncore/not_finite.hpp"
#include "nncore/operation.hpp"
#include "training/node_call.hpp"

namespace nncore {
namespace {

/// Calls body(node, call) for each node with state.
template <class T, class Body>
void for_each_stateful(const Graph& graph, const Plan& plan, Parameters<T>& parameters, Arena<T>& arena,
                       Body body) {
  for (const int index : plan.stateful_steps) {
    const PlannedStep& step = plan.steps[static_cast<std::size_t>(index)];
    body(graph.node(step.node), make_call<T>({graph, plan, parameters, arena}, step));
  }
}

}  // namespace

template <class T>
void check_staged_state(const Graph& graph, const Plan& plan, Parameters<T>& parameters, Arena<T>& arena) {
  for_each_stateful(graph, plan, parameters, arena, [](const Node& node, const NodeCall<T>& call) {
    if (!node.operation->can_commit(call))
      throw NotFinite("the statistics of " + node.name + " are not finite; that step was not made");
  });
}

template <class T>
void commit_state(const Graph& graph, const Plan& plan, Parameters<T>& parameters, Arena<T>& arena) {
  for_each_stateful(graph, plan, parameters, arena,
                    [](const Node& node, const NodeCall<T>& call) { node.operation->commit(call); });
  ++parameters.random_step;
}

#define NNCORE_INSTANTIATE(T)                                                             \
  template void check_staged_state(const Graph&, const Plan&, Parameters<T>&, Arena<T>&); \
  template void commit_state(const Graph&, const Plan&, Parameters<T>&, Arena<T>&);
NNCORE_INSTANTIATE(float)
NNCORE_INSTANTIATE(double)
#undef NNCORE_INSTANTIATE

}  // namespace nncore
