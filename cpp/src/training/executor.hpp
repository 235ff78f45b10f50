// Executor: runs the passes of a plan in the arena of one call.
#pragma once

#include <cstdint>
#include <span>

#include "graph/arena.hpp"
#include "graph/plan.hpp"
#include "nncore/graph.hpp"
#include "nncore/network.hpp"
#include "training/objective.hpp"
#include "training/plan_update.hpp"

namespace nncore {

/// Where a batch's values come from: rows of tables, and whether to keep a copy of them.
struct Source {
  std::span<const Table> inputs;
  const std::int64_t* rows;
  std::int64_t first;
  std::int64_t count;
  bool keep;
  bool measure = false;  ///< find the largest magnitude of each input
};

/// The options of a forward pass.
struct Pass {
  bool training = false;
  int ready = -1;              ///< the node whose value is already computed; -1: none
  bool finite_values = false;  ///< all parameters are known to be finite
};

/// All arguments must outlive it.
template <class T>
class Executor {
 public:
  Executor(const Graph& graph, Parameters<T>& parameters, Arena<T>& arena)
      : graph_(graph), parameters_(parameters), arena_(arena) {}

  void load_inputs(const Plan& plan, const Source& source);
  void run_forward(const Plan& plan, Pass pass);
  /// Skips the gradients of the weights that `update`, if there is one, takes.
  void run_backward(const Plan& plan, bool input_gradients, bool accumulate, PlanUpdate<T>* update = nullptr);
  /// The forward pass and the loss, with its gradient if backward is to follow (`gradients`).
  double evaluate(const Objective& objective, const Batch& batch, bool training, bool gradients,
                  int ready = -1);
  /// Makes one step and returns its loss. If a number would not be finite, throws NotFinite and changes
  /// nothing. `ready` is the node whose value for this batch the last step has computed, and becomes the one
  /// for `next`; -1: none.
  double step(const Objective& objective, const Batch& batch, const Batch* next, const Optimizer& optimizer,
              OptimizerState<T>& state, const StepOptions& options, int& ready);

 private:
  const Graph& graph_;
  Parameters<T>& parameters_;
  Arena<T>& arena_;
};

}  // namespace nncore
