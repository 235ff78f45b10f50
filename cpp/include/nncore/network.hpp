// Network: runs and trains a graph with the parameters of a store.
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

/// One term of the objective: a loss on one output of the graph.
struct LossTerm {
  Loss loss{};
  int output = 0;       ///< the position among the graph's outputs
  double weight = 1.0;  ///< the factor of the term in the sum
};

struct Plan;

/// Loss terms planned with a graph, made by Network::plan(). A final softmax under cross_entropy, or a final
/// sigmoid under binary_cross_entropy, is fused with the loss and computed from logits. Nodes that only
/// predictions need are left out.
struct Objective;

/// A selection of samples. It owns nothing: tables, rows and their data must outlive it.
///
/// A sample with weight 0 does not contribute to the term, whatever its values; a sample with weight 0 in all
/// terms is not read.
struct Batch {
  std::span<const Table> inputs;   ///< one per graph input
  std::span<const Table> targets;  ///< one per loss term: values (B, O), or one column of class indices
  std::span<const Table> sample_weights{};  ///< none, one column for all terms, or one column per term
  const std::int64_t* rows = nullptr;       ///< `count` row indices; if null, rows first .. first + count
  std::int64_t first = 0;
  std::int64_t count = 0;
  /// For each column of weights, the unit in which its weights are summed; all 1 if empty.
  std::span<const double> weight_units{};
};

/// Called by train_epoch between steps with the number of steps made and the mean loss over their samples.
/// Return false to end the epoch.
using EpochTick = std::function<bool(std::int64_t steps, double mean_loss)>;

/// Factors for a number of consecutive steps.
struct FactorRun {
  std::int64_t steps = 1;
  Factors factors{};
};

/// Options of one step.
struct StepOptions {
  Factors factors{};
  Transforms transforms{};
};

/// Options of the steps of one epoch.
struct EpochOptions {
  /// In the order of the steps; the last run extends to the end of the epoch. If empty, all factors are 1.
  std::span<const FactorRun> factors{};
  Transforms transforms{};
  EpochTick tick{};
};

/// What train_epoch did.
struct EpochResult {
  double mean_loss = 0.0;  ///< the (weighted) mean over the samples of the steps made
  std::int64_t steps = 0;  ///< the number of steps made
};

/// A graph and the parameters that it runs with. Several networks may share a graph or a store.
///
/// Each call checks its arguments before it writes anything and throws std::invalid_argument if they do not
/// fit, or std::length_error if the values of a batch are too many to address. Long calls can be ended early
/// (see Interruptible in nncore/runtime.hpp).
template <class T>
class Network {
 public:
  /// Shares ownership of the graph and the store. Throws std::invalid_argument if a node names a segment that
  /// the store does not have or whose shape does not fit.
  Network(std::shared_ptr<const Graph> graph, std::shared_ptr<Parameters<T>> parameters);
  ~Network();

  const Graph& graph() const { return *graph_; }
  Parameters<T>& parameters() const { return *parameters_; }

  /// Predicts the first `count` rows of the input tables, in chunks of rows that fit in the cache.
  ///
  /// inputs: one table per graph input. outputs: one matrix (count, features) with contiguous rows per graph
  /// output; their contents are unspecified if the call ends early.
  void predict(std::span<const Table> inputs, std::int64_t count, std::span<const Matrix<T>> outputs,
               Workspace<T>& workspace) const;

  /// Runs a forward pass over the first `count` rows and keeps what backward() needs in the workspace,
  /// including a copy of the inputs.
  ///
  /// If `training`, dropout is active, and normalization uses the statistics of the batch and updates the
  /// running ones. Throws NotFinite if these would not be finite.
  void forward(std::span<const Table> inputs, std::int64_t count, bool training,
               Workspace<T>& workspace) const;
  /// The value (B, features) of output `index` after forward(), valid until the next use of the workspace.
  /// Throws std::invalid_argument if another network or objective used the workspace last.
  Matrix<const T> output(int index, const Workspace<T>& workspace) const;

  /// Computes gradients from those of the outputs; may be called several times after one forward().
  ///
  /// grad_outputs: dL/d(output), one matrix (B, features) per graph output, with B the rows of the last
  /// forward(). grad_inputs: empty, or one matrix (B, features) per graph input; those with null data are not
  /// computed. Replaces the store's gradients, or adds to them if `accumulate`; if the call ends early, they
  /// are unchanged. Throws std::logic_error if the last use of the workspace was not forward() or backward()
  /// of this network.
  void backward(std::span<const Matrix<const T>> grad_outputs, std::span<const Matrix<T>> grad_inputs,
                bool accumulate, Workspace<T>& workspace) const;

  /// Plans the sum of some loss terms. Throws std::invalid_argument if a loss does not fit its output; the
  /// message suggests one that does. The objective works with every network on the same graph object.
  std::shared_ptr<const Objective> plan(std::span<const LossTerm> terms) const;

  /// Checks what loss, loss_and_gradients, train_step and train_epoch assume of a batch: widths; class
  /// indices in range; targets in the range of the loss and not NaN; sample weights finite, at least 0 and
  /// not all 0. Throws std::invalid_argument, naming the row. This and the following functions also throw it
  /// if the objective was planned for another graph.
  void check_batch(const Objective& objective, const Batch& batch) const;

  /// Throws NotFinite, naming the row and column, if an input is not finite after conversion to T.
  void check_inputs(const Batch& batch) const;

  /// The loss over a checked batch: the sum over terms of weight times mean loss, computed as in a
  /// prediction. Throws NotFinite as check_inputs() does.
  double loss(const Objective& objective, const Batch& batch, Workspace<T>& workspace) const;
  /// Returns the loss over a checked batch and computes the store's gradients, as backward() does.
  ///
  /// If `training`, the pass is as in a training step (see forward()), otherwise as in a prediction. A loss
  /// that is not finite is returned without computing gradients. Throws NotFinite as check_inputs() and
  /// forward() do.
  double loss_and_gradients(const Objective& objective, const Batch& batch, bool training, bool accumulate,
                            Workspace<T>& workspace) const;

  /// Makes one training step over a checked batch (forward, loss, backward, update) and returns the loss.
  ///
  /// The tables must not lie in the store, which is written while they are read. A batch without rows or with
  /// all weights 0 updates nothing. Throws NotFinite, and changes no parameter and no slot, if an input, the
  /// loss, a gradient or an updated parameter is not finite. After a step with plain sgd, the store's
  /// gradients are incomplete: large weights that the graph uses once are updated while their gradient is
  /// computed, and for such weights the stored gradient is not updated.
  double train_step(const Objective& objective, const Batch& batch, const Optimizer& optimizer,
                    OptimizerState<T>& state, Workspace<T>& workspace, const StepOptions& options = {}) const;

  /// Makes training steps over a checked batch, `batch_size` rows at a time. An exception in a step ends the
  /// epoch and keeps the steps before it.
  ///
  /// The tick is called after the first step and then after the first step that ends 50 ms or more after the
  /// last call. It may change the optimizer's hyperparameters for the steps that follow.
  EpochResult train_epoch(const Objective& objective, const Batch& batch, std::int64_t batch_size,
                          const Optimizer& optimizer, OptimizerState<T>& state, Workspace<T>& workspace,
                          const EpochOptions& options = {}) const;

  /// Updates the trainable segments that this graph uses from the store's gradients. Throws NotFinite as
  /// train_step() does.
  void update(const Optimizer& optimizer, OptimizerState<T>& state, const StepOptions& options = {}) const;

 private:
  void check_objective(const Objective& objective) const;

  std::shared_ptr<const Graph> graph_;
  std::shared_ptr<Parameters<T>> parameters_;
  std::unique_ptr<const Plan> plan_;  ///< of all outputs
};

}  // namespace nncore
