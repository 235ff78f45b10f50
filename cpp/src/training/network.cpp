#include "nncore/network.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "functions/row_checks.hpp"
#include "graph/layout.hpp"
#include "graph/plan.hpp"
#include "kernels/table.hpp"
#include "nncore/operation.hpp"
#include "nncore/runtime.hpp"
#include "training/batch.hpp"
#include "training/executor.hpp"
#include "training/objective.hpp"
#include "training/staged_state.hpp"
#include "training/store_update.hpp"

namespace nncore {
namespace {

/// The size of the chunks of `predict`: activations of about this many bytes stay in the L2 cache, but each
/// packed panel of weights must serve enough rows.
constexpr std::int64_t kChunkBytes = 1 << 20;
constexpr std::int64_t kFewestChunkRows = 240;
constexpr std::int64_t kMostChunkRows = 8192;

/// `loss` processes this many rows at a time, which bounds the memory of the activations.
constexpr std::int64_t kLossRows = 4096;

constexpr std::chrono::milliseconds kTickInterval{50};

std::size_t at(int index) { return static_cast<std::size_t>(index); }

/// Places the value of `node` at `value`, for all that read it.
template <class T>
void redirect(const Plan& plan, int node, Matrix<T> value, Arena<T>& arena) {
  arena.values[at(node)] = value;
  for (const int edge : plan.edges_of(node)) arena.edge_values[at(edge)] = value;
}

/// Rows copied between interrupt checks.
constexpr std::int64_t kCopiedRows = 1024;

template <class T>
void copy_rows(Matrix<const T> from, Matrix<T> to) {
  if (from.data == to.data) return;
  for (std::int64_t row = 0; row < from.rows; ++row) {
    if (row % kCopiedRows == kCopiedRows - 1) check_interrupt();
    std::copy_n(&from(row, 0), from.columns, &to(row, 0));
  }
}

/// Throws std::invalid_argument unless `matrix` has this shape and contiguous rows.
template <class T>
void check_matrix(Numbered argument, const Matrix<T>& matrix, std::int64_t rows, std::int64_t columns) {
  const bool has_shape = matrix.rows == rows && matrix.columns == columns;
  const bool has_data = matrix.data != nullptr && (matrix.column_stride == 1 || columns == 1) &&
                        (matrix.row_stride >= columns || rows == 1);
  if (has_shape && (has_data || rows == 0)) return;
  throw invalid(argument.text(), " must be a matrix of shape ", shape_text(Matrix<T>(nullptr, rows, columns)),
                " with contiguous rows; got shape ", shape_text(matrix), ", strides (", matrix.row_stride,
                ", ", matrix.column_stride, matrix.data == nullptr ? ") and no data" : ")");
}

/// The same for one matrix per output of a graph.
template <class T>
void check_outputs(const char* name, const Graph& graph, std::span<const Matrix<T>> matrices,
                   std::int64_t rows) {
  if (matrices.size() != graph.outputs().size())
    throw invalid(name, " must hold ", graph.outputs().size(),
                  " matrices, one for each output of the graph; got ", matrices.size());
  for (std::size_t i = 0; i < matrices.size(); ++i)
    check_matrix({name, i, matrices.size()}, matrices[i], rows, graph.node(graph.outputs()[i]).features);
}

/// The same for the gradients of the inputs that are requested.
template <class T>
void check_grad_inputs(const Graph& graph, std::span<const Matrix<T>> gradients, std::int64_t rows) {
  if (!gradients.empty() && gradients.size() != graph.inputs().size())
    throw invalid("grad_inputs must be empty or hold ", graph.inputs().size(),
                  " matrices, one for each input of the graph; got ", gradients.size());
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (gradients[i].data == nullptr) continue;
    const Node& node = graph.node(graph.inputs()[i]);
    const Numbered argument{"grad_inputs", i, gradients.size()};
    if (node.is_integer)
      throw invalid(argument.text(), " must have no data, because input '", node.name,
                    "' holds integers; got a matrix");
    check_matrix(argument, gradients[i], rows, node.features);
  }
}

/// Runs a backward pass that leaves gradients as they were if it ends early. A long pass copies them first,
/// which takes little of its time; a short one cannot be interrupted.
template <class T, class Run>
void run_whole_backward(const Graph& graph, Parameters<T>& parameters, Arena<T>& arena, Run run) {
  if (!is_interruptible()) return run();
  constexpr double kPerParameter = 4.0, kPerValue = 20.0, kShort = 4e9;  // operations
  double of_row = kPerParameter * static_cast<double>(parameters.count());
  for (const Node& node : graph.nodes()) of_row += kPerValue * static_cast<double>(node.features);
  if (of_row * static_cast<double>(arena.layout.rows) < kShort) {
    const Uninterruptible writing;
    return run();
  }
  arena.gradients_before.reserve(parameters.count());
  T* const before = arena.gradients_before.data();
  std::copy_n(parameters.gradients(), parameters.count(), before);
  try {
    run();
  } catch (...) {
    std::copy_n(before, parameters.count(), parameters.gradients());
    throw;
  }
}

/// The first `count` rows of some inputs.
Batch inputs_of(std::span<const Table> inputs, std::int64_t count) {
  Batch batch;
  batch.inputs = inputs;
  batch.count = count;
  return batch;
}

/// Gives the factors of one step after the other.
class FactorTable {
 public:
  explicit FactorTable(std::span<const FactorRun> runs) : runs_(runs) {
    for (const FactorRun& run : runs) {
      if (run.steps < 1)
        throw std::invalid_argument("the steps of a run of factors must be at least 1; got " +
                                    std::to_string(run.steps));
      validate(run.factors);
    }
  }
  Factors next() {
    if (runs_.empty()) return {};
    if (made_ == runs_[0].steps && runs_.size() > 1) {
      runs_ = runs_.subspan(1);
      made_ = 0;
    }
    ++made_;
    return runs_[0].factors;
  }

 private:
  std::span<const FactorRun> runs_;
  std::int64_t made_ = 0;  ///< steps of the first run so far
};

}  // namespace

template <class T>
Network<T>::Network(std::shared_ptr<const Graph> graph, std::shared_ptr<Parameters<T>> parameters)
    : graph_(std::move(graph)), parameters_(std::move(parameters)) {
  for (const Node& node : graph_->nodes()) {
    if (node.operation == nullptr) continue;
    const auto check_index = [&](int segment, std::size_t count, const char* table) {
      if (segment < 0 || at(segment) >= count) {
        throw invalid("node '", node.name, "': index of a ", table, " must be in [0, ", count, "); got ",
                      segment);
      }
    };
    for (const int segment : node.operation->segments()) {
      check_index(segment, parameters_->segments().size(), "segment");
    }
    for (const int segment : node.operation->state_segments()) {
      check_index(segment, parameters_->state_segments().size(), "state segment");
    }
    try {
      node.operation->check_segments(parameters_->segments());
      node.operation->check_state(parameters_->state_segments());
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument("node '" + node.name + "': " + error.what());
    }
  }
  plan_ = std::make_unique<const Plan>(make_plan(*graph_, graph_->outputs()));
}

template <class T>
Network<T>::~Network() = default;

template <class T>
void Network<T>::predict(std::span<const Table> inputs, std::int64_t count,
                         std::span<const Matrix<T>> outputs, Workspace<T>& workspace) const {
  const FloatingPointMode mode;
  Arena<T>& arena = *workspace.arena_;
  Executor<T> executor(*graph_, *parameters_, arena);
  check_tables(*graph_, inputs_of(inputs, count));
  check_outputs<T>("outputs", *graph_, outputs, count);
  std::int64_t row_bytes = 0;
  for (const Node& node : graph_->nodes()) row_bytes += node.features * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t most = std::clamp(kChunkBytes / row_bytes, kFewestChunkRows, kMostChunkRows);
  for (std::int64_t first = 0; first < count; first += most) {
    if (first > 0) check_interrupt();
    const std::int64_t rows = std::min(most, count - first);
    lay_out<T>(*graph_, *plan_, {}, rows, false, arena);
    const auto layout = std::exchange(arena.layout, {});  // until all of its pointers are restored
    arena.own_outputs.clear();
    for (std::size_t i = 0; i < outputs.size(); ++i) {  // compute results in the caller's memory
      const int sink = graph_->outputs()[i];
      arena.own_outputs.push_back(arena.values[at(sink)]);
      const bool gapless = outputs[i].row_stride == outputs[i].columns;
      if (graph_->node(sink).operation == nullptr || !gapless) continue;
      redirect<T>(*plan_, sink, outputs[i].row_range(first, rows), arena);
    }
    executor.load_inputs(*plan_, {inputs, nullptr, first, rows, false});
    executor.run_forward(*plan_, {.finite_values = count == 1 && parameters_->known_finite()});
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      copy_rows<T>(arena.values[at(graph_->outputs()[i])], outputs[i].row_range(first, rows));
    }
    for (std::size_t i = outputs.size(); i-- > 0;) {  // in reverse, because a node may be an output twice
      redirect<T>(*plan_, graph_->outputs()[i], arena.own_outputs[i], arena);
    }
    arena.layout = layout;
  }
}

template <class T>
void Network<T>::forward(std::span<const Table> inputs, std::int64_t count, bool training,
                         Workspace<T>& workspace) const {
  const FloatingPointMode mode;
  Arena<T>& arena = *workspace.arena_;
  Executor<T> executor(*graph_, *parameters_, arena);
  check_tables(*graph_, inputs_of(inputs, count));
  if (training) check_training_rows(*plan_, count);
  lay_out<T>(*graph_, *plan_, {}, count, true, arena);
  executor.load_inputs(*plan_, {inputs, nullptr, 0, count, true});
  executor.run_forward(*plan_, {.training = training});
  if (training) {
    check_staged_state(*graph_, *plan_, *parameters_, arena);
    const Uninterruptible writing;
    commit_state(*graph_, *plan_, *parameters_, arena);
  }
  arena.ran_forward = true;
}

template <class T>
Matrix<const T> Network<T>::output(int index, const Workspace<T>& workspace) const {
  const Arena<T>& arena = *workspace.arena_;
  if (index < 0 || at(index) >= graph_->outputs().size())
    throw invalid("index must be in [0, ", graph_->outputs().size(), "), one of the graph's outputs; got ",
                  index);
  if (arena.layout.plan != plan_->id)
    throw invalid("workspace must hold the values of this network's forward; got another");
  return arena.values[at(graph_->outputs()[at(index)])];
}

template <class T>
void Network<T>::backward(std::span<const Matrix<const T>> grad_outputs,
                          std::span<const Matrix<T>> grad_inputs, bool accumulate,
                          Workspace<T>& workspace) const {
  Arena<T>& arena = *workspace.arena_;
  if (!arena.ran_forward || arena.layout.plan != plan_->id) {
    throw std::logic_error(
        "backward needs the values of a forward pass; there was none, or another call replaced them");
  }
  check_outputs<const T>("grad_outputs", *graph_, grad_outputs, arena.layout.rows);
  check_grad_inputs<T>(*graph_, grad_inputs, arena.layout.rows);
  const FloatingPointMode mode;
  Executor<T> executor(*graph_, *parameters_, arena);
  const kernels::Kernels<T>& kernels = kernels::active<T>();
  for (std::size_t i = 0; i < grad_outputs.size(); ++i) {
    const Matrix<T>& gradient = arena.gradients[at(plan_->sinks[i])];
    for (std::int64_t row = 0; gradient.data != nullptr && row < gradient.rows; ++row) {
      if (row % kCopiedRows == kCopiedRows - 1) check_interrupt();
      const T* from = &grad_outputs[i](row, 0);
      if (plan_->accumulate_sink[i] != 0)
        kernels.add(&gradient(row, 0), from, &gradient(row, 0), gradient.columns);
      else
        std::copy_n(from, gradient.columns, &gradient(row, 0));
    }
  }
  const bool input_gradients =
      std::any_of(grad_inputs.begin(), grad_inputs.end(),
                  [](const Matrix<T>& gradient) { return gradient.data != nullptr; });
  run_whole_backward(*graph_, *parameters_, arena,
                     [&] { executor.run_backward(*plan_, input_gradients, accumulate); });
  for (std::size_t i = 0; i < grad_inputs.size(); ++i) {
    if (grad_inputs[i].data != nullptr) {
      copy_rows<T>(arena.gradients[at(graph_->inputs()[i])], grad_inputs[i]);
    }
  }
}

template <class T>
std::shared_ptr<const Objective> Network<T>::plan(std::span<const LossTerm> terms) const {
  return make_objective(graph_, terms);
}

template <class T>
void Network<T>::check_objective(const Objective& objective) const {
  if (objective.graph != graph_)
    throw invalid("objective must be planned for this network's graph; got one for another");
}

template <class T>
void Network<T>::check_batch(const Objective& objective, const Batch& batch) const {
  check_objective(objective);
  nncore::check_batch(objective, *graph_, batch);
}

template <class T>
void Network<T>::check_inputs(const Batch& batch) const {
  nncore::check_inputs<T>(*graph_, batch);
}

template <class T>
double Network<T>::loss(const Objective& objective, const Batch& batch, Workspace<T>& workspace) const {
  check_objective(objective);
  const FloatingPointMode mode;
  Executor<T> executor(*graph_, *parameters_, *workspace.arena_);
  if (batch.count <= kLossRows) return executor.evaluate(objective, batch, false, false);
  const std::vector<double> units = largest_weights(batch);  // in these units no sum of weights overflows
  Batch all = batch;
  all.weight_units = units;
  MeanLoss mean;
  for (std::int64_t start = 0; start < batch.count; start += kLossRows) {
    if (start > 0) check_interrupt();
    executor.evaluate(objective, rows_of(all, start, kLossRows), false, false);
    mean.add(workspace.arena_->term_losses);
  }
  return mean.value();
}

template <class T>
double Network<T>::loss_and_gradients(const Objective& objective, const Batch& batch, bool training,
                                      bool accumulate, Workspace<T>& workspace) const {
  const FloatingPointMode mode;
  Arena<T>& arena = *workspace.arena_;
  Executor<T> executor(*graph_, *parameters_, arena);
  check_objective(objective);
  const double loss = executor.evaluate(objective, batch, training, true);
  if (!std::isfinite(loss)) return loss;
  if (training) check_staged_state(*graph_, objective.plan, *parameters_, arena);
  run_whole_backward(*graph_, *parameters_, arena,
                     [&] { executor.run_backward(objective.plan, false, accumulate); });
  const Uninterruptible writing;
  if (training) commit_state(*graph_, objective.plan, *parameters_, arena);
  return loss;
}

template <class T>
double Network<T>::train_step(const Objective& objective, const Batch& batch, const Optimizer& optimizer,
                              OptimizerState<T>& state, Workspace<T>& workspace,
                              const StepOptions& options) const {
  check_objective(objective);
  validate(optimizer, state, parameters_->count());
  validate(options.factors);
  prepare_slots(options.transforms, state, *parameters_);
  const FloatingPointMode mode;
  Executor<T> executor(*graph_, *parameters_, *workspace.arena_);
  int ready = -1;
  return executor.step(objective, batch, nullptr, optimizer, state, options, ready);
}

template <class T>
EpochResult Network<T>::train_epoch(const Objective& objective, const Batch& batch, std::int64_t batch_size,
                                    const Optimizer& optimizer, OptimizerState<T>& state,
                                    Workspace<T>& workspace, const EpochOptions& options) const {
  using Clock = std::chrono::steady_clock;
  if (batch_size < 1)
    throw std::invalid_argument("batch_size must be at least 1; got " + std::to_string(batch_size));
  batch_size = std::clamp<std::int64_t>(batch.count, 1, batch_size);  // so that no sum with it overflows
  check_objective(objective);
  validate(optimizer, state, parameters_->count());
  check_training_rows(objective.plan, std::min(batch.count, batch_size));
  check_training_rows(objective.plan, batch.count % batch_size);  // the last batch, if it is smaller
  FactorTable factors(options.factors);
  prepare_slots(options.transforms, state, *parameters_);
  const FloatingPointMode mode;
  Executor<T> executor(*graph_, *parameters_, *workspace.arena_);
  EpochResult result;
  const std::vector<double> units = largest_weights(batch);  // in these units no sum of weights overflows
  Batch all = batch;
  all.weight_units = units;
  MeanLoss mean;
  Clock::time_point last_tick{};  // the clock's epoch, so that a tick follows the first step
  int ready = -1;
  for (std::int64_t start = 0; start < batch.count; start += batch_size) {
    const Batch part = rows_of(all, start, batch_size), next = rows_of(all, start + batch_size, batch_size);
    const StepOptions of_step{factors.next(), options.transforms};
    executor.step(objective, part, &next, optimizer, state, of_step, ready);
    ++result.steps;
    mean.add(workspace.arena_->term_losses);
    result.mean_loss = mean.value();
    if (!options.tick) continue;
    if (const Clock::time_point now = Clock::now(); now - last_tick >= kTickInterval) {
      last_tick = now;
      ready = -1;  // the callback may change the parameters
      if (!options.tick(result.steps, result.mean_loss)) break;
      validate(optimizer, state, parameters_->count());  // or the optimizer
    }
  }
  return result;
}

template <class T>
void Network<T>::update(const Optimizer& optimizer, OptimizerState<T>& state,
                        const StepOptions& options) const {
  validate(optimizer, state, parameters_->count());
  validate(options.factors);
  prepare_slots(options.transforms, state, *parameters_);
  const FloatingPointMode mode;
  const TransformCall<T> call{*parameters_, state, plan_->segments};
  for (const auto& transform : options.transforms) transform->change_gradients(call);
  StoreUpdate<T> update(optimizer, options.factors, state, *parameters_);
  update.approve(plan_->segments, {});
  const Uninterruptible writing;
  update.run(plan_->segments, {});
  for (const auto& transform : options.transforms) transform->follow(call);
}

template <class T>
Workspace<T>::Workspace() : arena_(std::make_unique<Arena<T>>()) {}
template <class T>
Workspace<T>::~Workspace() = default;
template <class T>
Workspace<T>::Workspace(Workspace&&) noexcept = default;
template <class T>
Workspace<T>& Workspace<T>::operator=(Workspace&&) noexcept = default;

template class Workspace<float>;
template class Workspace<double>;
template class Network<float>;
template class Network<double>;

}  // namespace nncore
