// Network: a graph at work on a store of parameters. The one executor.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "nncore/dataset.hpp"
#include "nncore/graph.hpp"
#include "nncore/losses.hpp"
#include "nncore/matrix.hpp"
#include "nncore/optimizers.hpp"
#include "nncore/parameters.hpp"
#include "nncore/workspace.hpp"

namespace nncore {

/// One loss on one output of the graph (its position among the outputs), and its weight in the sum.
struct LossTerm {
  Loss loss = Loss::half_squared_error;
  int output = 0;
  double weight = 1.0;
};

/// Samples: one table per graph input, one per loss term (a labels column where the loss takes class
/// indices and the table has one column of integers), optionally a weight per sample.
/// `rows` picks `count` of them, in order; null: the first `count`.
struct Batch {
  std::span<const Table> inputs;
  std::span<const Table> targets;
  const Table* sample_weight = nullptr;
  const std::int64_t* rows = nullptr;
  std::int64_t count = 0;
};

/// The moments of an optimizer and how many steps it has made.
template <class T>
struct OptimizerState {
  OptimizerState(OptimizerKind kind, std::int64_t parameter_count);

  std::int64_t steps = 0;
  AlignedBuffer<T> first_moment, second_moment;  ///< empty where the optimizer has none
};

/// What train_epoch tells between two steps: the steps made so far and the sum over them of
/// loss x samples; return false to stop there.
using EpochTick = std::function<bool(std::int64_t steps_done, double loss_sum)>;

struct EpochResult {
  double mean_loss = 0.0;  ///< over the samples of the whole steps made
  std::int64_t steps = 0;
  bool finite = true;  ///< false: the next step's loss was not finite; it was not made
};

template <class T>
class Network {
 public:
  /// Throws std::invalid_argument where a node names a segment that the store lacks, or whose shape
  /// does not fit.
  Network(std::shared_ptr<const Graph> graph, std::shared_ptr<Parameters<T>> parameters);

  const Graph& graph() const { return *graph_; }
  Parameters<T>& parameters() { return *parameters_; }

  /// outputs[i] (rows, features), contiguous rows, from the tables' `count` rows, in row chunks that fit the
  /// cache.
  void predict(std::span<const Table> inputs, std::int64_t count, std::span<const Matrix<T>> outputs,
               Workspace<T>& workspace) const;

  /// The pieces of a step. forward keeps what backward needs in the workspace; results are read there.
  void forward(const Batch& batch, bool training, Workspace<T>& workspace) const;
  Matrix<const T> output(int index, const Workspace<T>& workspace) const;
  /// From dL/d(output) of every output (rows as in the last forward): fills (or adds to) the store's
  /// gradients; grad_inputs, one per graph input, may have null data.
  void backward(std::span<const Matrix<const T>> grad_outputs, std::span<const Matrix<T>> grad_inputs,
                bool accumulate, Workspace<T>& workspace);

  /// A step bound to its losses: planned once. A final softmax under cross_entropy, or sigmoid under
  /// binary_cross_entropy, is computed from logits. Throws std::invalid_argument for a loss that does not
  /// fit its output, naming the right choice.
  struct Objective;
  std::shared_ptr<const Objective> plan(std::span<const LossTerm> terms) const;

  /// Checks that the batch's targets are what the losses can use: shapes, labels in range, no NaN.
  void check_targets(const Objective& objective, const Batch& batch) const;

  /// The weighted loss; fills (or adds to) gradients.
  double loss_and_gradients(const Objective& objective, const Batch& batch, bool accumulate,
                            Workspace<T>& workspace);
  double loss(const Objective& objective, const Batch& batch, Workspace<T>& workspace) const;

  /// One step: forward, loss, backward, update. A loss that is not finite is returned and nothing
  /// is updated.
  double train_step(const Objective& objective, const Batch& batch, const Optimizer& optimizer,
                    OptimizerState<T>& state, Workspace<T>& workspace);

  /// Steps over batch.rows, `batch_size` rows at a time. `tick` is called after the first step and then
  /// at least every 50 ms, always between steps.
  EpochResult train_epoch(const Objective& objective, const Batch& batch, std::int64_t batch_size,
                          const Optimizer& optimizer, OptimizerState<T>& state, Workspace<T>& workspace,
                          const EpochTick& tick = {});

  /// Applies one update from the store's gradients to the segments that this graph uses.
  void update(const Optimizer& optimizer, OptimizerState<T>& state);
};

}  // namespace nncore
