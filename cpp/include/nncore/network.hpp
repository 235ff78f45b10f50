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
#include "nncore/transforms.hpp"
#include "nncore/workspace.hpp"

namespace nncore {

/// One loss on one output of the graph (its position among the outputs), and its weight in the sum.
struct LossTerm {
  Loss loss{};
  int output = 0;
  double weight = 1.0;
};

struct Plan;

/// Loss terms planned with a graph. A final softmax under cross_entropy, or sigmoid under
/// binary_cross_entropy, is computed from logits; what only predictions need is left out.
struct Objective;

/// Samples: one table per graph input, one per loss term (a column of integers where the loss takes class
/// indices; values (B, O) otherwise), and perhaps weights: a column for all terms, or one for each. A sample
/// of weight 0 takes no part in a term, whatever it holds; where it takes part in none, it is not looked at.
/// `rows` picks `count` of them, in order; null: `count` from row `first` on.
struct Batch {
  std::span<const Table> inputs;
  std::span<const Table> targets;
  std::span<const Table> sample_weights{};
  const std::int64_t* rows = nullptr;
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::span<const double> weight_units{};  ///< in which sums of each column of weights are formed; none: 1
};

/// What train_epoch tells between two steps: the steps made so far and the mean loss over their samples;
/// return false to stop there.
using EpochTick = std::function<bool(std::int64_t steps, double mean_loss)>;

/// The factors of so many steps.
struct FactorRun {
  std::int64_t steps = 1;
  Factors factors{};
};

/// What a step takes beside its optimizer.
struct StepOptions {
  Factors factors{};
  Transforms transforms{};
};

/// What the steps of an epoch take beside their optimizer.
struct EpochOptions {
  /// In the order of the steps; those that are left at the end have the last run's. Empty: all are 1.
  std::span<const FactorRun> factors{};
  Transforms transforms{};
  EpochTick tick{};
};

struct EpochResult {
  double mean_loss = 0.0;  ///< over the samples (weighted, where there are weights) of the steps made
  std::int64_t steps = 0;
};

template <class T>
class Network {
 public:
  /// Throws std::invalid_argument where a node names a segment that the store lacks or whose shape does not
  /// fit.
  Network(std::shared_ptr<const Graph> graph, std::shared_ptr<Parameters<T>> parameters);
  ~Network();

  const Graph& graph() const { return *graph_; }
  Parameters<T>& parameters() const { return *parameters_; }

  /// outputs[i] (count, features), contiguous rows, from the tables' first `count` rows; computed in chunks
  /// of rows that fit the cache.
  void predict(std::span<const Table> inputs, std::int64_t count, std::span<const Matrix<T>> outputs,
               Workspace<T>& workspace) const;

  /// The pieces of a step. forward copies its inputs and keeps what backward needs in the workspace.
  /// `training`: with dropout and the statistics of the batch, which move the running ones where it
  /// `commits`; output(i) is valid until the workspace's next use.
  void forward(std::span<const Table> inputs, std::int64_t count, bool training,
               Workspace<T>& workspace) const;
  Matrix<const T> output(int index, const Workspace<T>& workspace) const;

  /// From dL/d(output), one per output, rows as in the last forward: fills (or adds to) the store's
  /// gradients. grad_inputs: one per graph input, or none; those with null data are not computed. It may be
  /// called several times after one forward. Throws std::logic_error where something else than this network's
  /// forward and backward was the workspace's last use.
  void backward(std::span<const Matrix<const T>> grad_outputs, std::span<const Matrix<T>> grad_inputs,
                bool accumulate, Workspace<T>& workspace) const;

  /// Throws std::invalid_argument for a loss that does not fit its output, naming the right choice.
  std::shared_ptr<const Objective> plan(std::span<const LossTerm> terms) const;

  /// Checks what train_step and train_epoch rely on: widths, labels in range, no NaN among targets, those
  /// of binary cross-entropy in [0, 1], weights as check_sample_weight has them, one of them positive. Throws
  /// std::invalid_argument, naming the row.
  void check_batch(const Objective& objective, const Batch& batch) const;

  /// Throws NotFinite, naming the row and column, for an input that is not finite as a T.
  void check_inputs(const Batch& batch) const;

  /// The loss over a checked batch: sum of the terms' weighted means. As check_inputs.
  double loss(const Objective& objective, const Batch& batch, Workspace<T>& workspace) const;
  /// The same, and fills (or adds to) the store's gradients. `training`: as a step sees it, with dropout and
  /// the statistics of the batch, which move the running ones; else as predictions do.
  double loss_and_gradients(const Objective& objective, const Batch& batch, bool training, bool accumulate,
                            Workspace<T>& workspace) const;

  /// One step over a checked batch: forward, loss, backward, update. Inputs may be read while the store is
  /// written, so they must not lie in it. Nothing is updated for a batch of no rows, or of no weight. Throws
  /// NotFinite, and has changed no parameter and no slot, where an input, the loss, a gradient or what the
  /// update would make of a parameter is not finite. With sgd the store's gradients are not all those of
  /// loss_and_gradients afterwards: a large weight of one use is updated while its gradient is formed, which
  /// is not stored; what was in its place before stays there.
  double train_step(const Objective& objective, const Batch& batch, const Optimizer& optimizer,
                    OptimizerState<T>& state, Workspace<T>& workspace, const StepOptions& options = {}) const;

  /// Such steps over a checked batch, `batch_size` rows at a time; what a step throws ends them. The tick is
  /// called between steps, after the first and then at least every 50 ms (or after the current step, where
  /// one takes longer). It may change the optimizer's hyperparameters, for the steps that follow.
  EpochResult train_epoch(const Objective& objective, const Batch& batch, std::int64_t batch_size,
                          const Optimizer& optimizer, OptimizerState<T>& state, Workspace<T>& workspace,
                          const EpochOptions& options = {}) const;

  /// One update, from the store's gradients, of the trainable segments that this graph uses. Throws NotFinite
  /// as train_step.
  void update(const Optimizer& optimizer, OptimizerState<T>& state, const StepOptions& options = {}) const;

 private:
  std::shared_ptr<const Graph> graph_;
  std::shared_ptr<Parameters<T>> parameters_;
  std::unique_ptr<const Plan> plan_;  ///< of all outputs
};

}  // namespace nncore
