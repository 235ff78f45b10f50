#include "nncore/network.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "functions/magnitude.hpp"
#include "graph/layout.hpp"
#include "graph/plan.hpp"
#include "kernels/table.hpp"
#include "nncore/not_finite.hpp"
#include "nncore/operation.hpp"
#include "nncore/runtime.hpp"
#include "operations/fused_sgd.hpp"
#include "product/dense.hpp"
#include "runtime/thread_turn.hpp"
#include "training/batch.hpp"
#include "training/node_call.hpp"
#include "training/objective.hpp"
#include "training/plan_update.hpp"
#include "training/staged_state.hpp"
#include "training/store_update.hpp"

namespace nncore {
namespace {

/// predict's chunks: activations of about this many bytes stay in the L2 cache, but a packed panel of weights
/// must serve enough rows.
constexpr std::int64_t kChunkBytes = 1 << 20;
constexpr std::int64_t kFewestChunkRows = 240;
constexpr std::int64_t kMostChunkRows = 8192;

/// loss goes through its rows in chunks of so many, which bounds the memory of what lies between the layers.
constexpr std::int64_t kLossRows = 4096;

constexpr std::chrono::milliseconds kTickInterval{50};

std::size_t at(int index) { return static_cast<std::size_t>(index); }

/// Makes `node`'s value live at `value`, for everyone who reads it.
template <class T>
void redirect(const Plan& plan, int node, Matrix<T> value, Workspace<T>& workspace) {
  workspace.values[at(node)] = value;
  for (std::size_t edge = 0; edge < plan.edge_value.size(); ++edge) {
    if (plan.edge_value[edge] == node) workspace.edge_values[edge] = value;
  }
}

template <class T>
void copy_rows(Matrix<const T> from, Matrix<T> to) {
  if (from.data == to.data) return;
  for (std::int64_t row = 0; row < from.rows; ++row) std::copy_n(&from(row, 0), from.columns, &to(row, 0));
}

/// The first `count` rows of some inputs.
Batch inputs_of(std::span<const Table> inputs, std::int64_t count) {
  Batch batch;
  batch.inputs = inputs;
  batch.count = count;
  return batch;
}
/// The factors of one step after the other.
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
  std::int64_t made_ = 0;  ///< steps of the first of them
};

/// A batch whose weights are added up in the largest of them: no sum of them is too large then.
Batch in_largest_weight(Batch batch) {
  batch.weight_unit = largest_weight(batch);
  return batch;
}

}  // namespace

template <class T>
Network<T>::Network(std::shared_ptr<const Graph> graph, std::shared_ptr<Parameters<T>> parameters)
    : graph_(std::move(graph)), parameters_(std::move(parameters)) {
  for (const Node& node : graph_->nodes()) {
    if (node.operation == nullptr) continue;
    const auto check_index = [&](int segment, std::size_t count, const char* table) {
      if (segment < 0 || at(segment) >= count) {
        throw std::invalid_argument("node '" + node.name + "' names " + table + " " +
                                    std::to_string(segment) + "; the store has " + std::to_string(count));
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
void Network<T>::load_inputs(const Plan& plan, const Source& source, Workspace<T>& workspace) const {
  if (source.measure) workspace.largest_input.assign(graph_->inputs().size(), 0.0);
  for (std::size_t i = 0; i < graph_->inputs().size(); ++i) {
    const int node = graph_->inputs()[i];
    if (plan.value_of[at(node)] < 0) continue;  // this plan does not read it
    const bool in_order = source.rows == nullptr || source.count == 1;
    const std::int64_t* const rows = in_order ? nullptr : source.rows;
    Table table = source.inputs[i];
    if (in_order)
      table = table.row_range(source.rows != nullptr ? source.rows[0] : source.first, source.count);
    if (graph_->node(node).is_integer) {
      gather_rows<std::int64_t>(table, rows, source.count, workspace.integers[at(node)]);
      continue;
    }
    const bool in_place = !source.keep && in_order && as_gathered<T>(table) != nullptr &&
                          std::find(plan.sinks.begin(), plan.sinks.end(), node) == plan.sinks.end();
    const Matrix<T>& own = workspace.values[at(node)];
    Matrix<const T> value = own;
    if (in_place)
      value.data = as_gathered<T>(table);
    else
      gather_rows<T>(table, rows, source.count, own.data);
    if (source.measure)
      workspace.largest_input[i] = largest_magnitude(value.data, source.count * own.columns);
    for (std::size_t edge = 0; edge < plan.edge_value.size(); ++edge) {
      if (plan.edge_value[edge] == node) workspace.edge_values[edge] = value;
    }
  }
}

template <class T>
void Network<T>::run_forward(const Plan& plan, Pass pass, Workspace<T>& workspace) const {
  workspace.training = pass.training;
  for (const PlannedStep& step : plan.steps) {
    if (step.value == pass.ready) continue;
    NodeCall<T> call = make_call(*graph_, plan, step, *parameters_, workspace);
    call.finite_values = pass.finite_values;
    graph_->node(step.node).operation->forward(call);
  }
}

template <class T>
void Network<T>::run_backward(const Plan& plan, bool input_gradients, bool accumulate,
                              Workspace<T>& workspace, PlanUpdate<T>* update) const {
  const auto wanted = [&](int value) {
    return plan.reaches_parameters[at(value)] != 0 ||
           (input_gradients && plan.reaches_inputs[at(value)] != 0);
  };
  for (std::size_t edge = 0; edge < plan.edge_value.size(); ++edge) {
    const int value = plan.edge_value[edge];
    workspace.edge_gradients[edge] = wanted(value) ? workspace.gradients[at(value)] : Matrix<T>{};
  }
  if (!accumulate) {  // what no step of this plan writes
    for (int i = 0, used = 0; i < static_cast<int>(parameters_->segments().size()); ++i) {
      if (at(used) < plan.segments.size() && plan.segments[at(used)] == i)
        ++used;
      else
        std::fill_n(parameters_->gradient(i).data, parameters_->segments()[at(i)].size(), T{0});
    }
  }
  const std::vector<char>& accumulate_segment = accumulate ? plan.accumulate_all : plan.accumulate_segment;
  for (auto step = plan.steps.rbegin(); step != plan.steps.rend(); ++step) {
    if (!wanted(step->value)) continue;
    const Matrix<T>& gradient = workspace.gradients[at(step->value)];
    const Operation& operation = *graph_->node(step->node).operation;
    NodeCall<T> call = make_call(*graph_, plan, *step, *parameters_, workspace);
    if (call.fused != nullptr && !step->derivative_done) {
      multiply_derivative<T>({call.fused, call.fused_derivative}, call.output, gradient);
    }
    call.grad_output = gradient;
    call.grad_inputs = {workspace.edge_gradients.data() + step->first_edge, call.inputs.size()};
    call.accumulate_segment = {accumulate_segment.data() + step->first_segment_use,
                               operation.segments().size()};
    if (update != nullptr && update->takes(*step))
      operation.fused_sgd()->backward(call);
    else
      operation.backward(call);
  }
}

template <class T>
void Network<T>::predict(std::span<const Table> inputs, std::int64_t count,
                         std::span<const Matrix<T>> outputs, Workspace<T>& workspace) const {
  const FloatingPointMode mode;
  check_integers(*graph_, inputs_of(inputs, count));
  std::int64_t row_bytes = 0;
  for (const Node& node : graph_->nodes()) row_bytes += node.features * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t most = std::clamp(kChunkBytes / row_bytes, kFewestChunkRows, kMostChunkRows);
  for (std::int64_t first = 0; first < count; first += most) {
    const std::int64_t rows = std::min(most, count - first);
    lay_out<T>(*graph_, *plan_, {}, rows, false, workspace);
    const auto layout = std::exchange(workspace.layout, {});  // until all of its pointers are its own again
    workspace.own_outputs.clear();
    for (std::size_t i = 0; i < outputs.size(); ++i) {  // results are computed where they are wanted
      const int sink = graph_->outputs()[i];
      workspace.own_outputs.push_back(workspace.values[at(sink)]);
      const bool gapless = outputs[i].row_stride == outputs[i].columns;
      if (graph_->node(sink).operation == nullptr || !gapless) continue;
      redirect<T>(*plan_, sink, outputs[i].row_range(first, rows), workspace);
    }
    load_inputs(*plan_, {inputs, nullptr, first, rows, false}, workspace);
    run_forward(*plan_, {.finite_values = count == 1 && parameters_->known_finite()}, workspace);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      copy_rows<T>(workspace.values[at(graph_->outputs()[i])], outputs[i].row_range(first, rows));
    }
    for (std::size_t i = outputs.size(); i-- > 0;) {  // backwards: one node may be an output twice
      redirect<T>(*plan_, graph_->outputs()[i], workspace.own_outputs[i], workspace);
    }
    workspace.layout = layout;
  }
}

template <class T>
void Network<T>::forward(std::span<const Table> inputs, std::int64_t count, bool training,
                         Workspace<T>& workspace) const {
  const FloatingPointMode mode;
  check_integers(*graph_, inputs_of(inputs, count));
  if (training) check_training_rows(*plan_, count);
  lay_out<T>(*graph_, *plan_, {}, count, true, workspace);
  load_inputs(*plan_, {inputs, nullptr, 0, count, true}, workspace);
  run_forward(*plan_, {.training = training}, workspace);
  if (training) {
    check_staged_state(*graph_, *plan_, *parameters_, workspace);
    commit_state(*graph_, *plan_, *parameters_, workspace);
  }
  workspace.ran_forward = true;
}

template <class T>
Matrix<const T> Network<T>::output(int index, const Workspace<T>& workspace) const {
  return workspace.values[at(graph_->outputs()[at(index)])];
}

template <class T>
void Network<T>::backward(std::span<const Matrix<const T>> grad_outputs,
                          std::span<const Matrix<T>> grad_inputs, bool accumulate,
                          Workspace<T>& workspace) const {
  if (!workspace.ran_forward || workspace.layout.plan != plan_->id) {
    throw std::logic_error("backward needs the forward of the same batch just before it");
  }
  const FloatingPointMode mode;
  const kernels::Kernels<T>& kernels = kernels::active<T>();
  for (std::size_t i = 0; i < grad_outputs.size(); ++i) {
    const Matrix<T>& gradient = workspace.gradients[at(plan_->sinks[i])];
    for (std::int64_t row = 0; gradient.data != nullptr && row < gradient.rows; ++row) {
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
  run_backward(*plan_, input_gradients, accumulate, workspace);
  workspace.ran_forward = false;  // gradients of fused activations were multiplied in place
  for (std::size_t i = 0; i < grad_inputs.size(); ++i) {
    if (grad_inputs[i].data != nullptr) {
      copy_rows<T>(workspace.gradients[at(graph_->inputs()[i])], grad_inputs[i]);
    }
  }
}

template <class T>
std::shared_ptr<const Objective> Network<T>::plan(std::span<const LossTerm> terms) const {
  return make_objective(*graph_, terms);
}

template <class T>
void Network<T>::check_batch(const Objective& objective, const Batch& batch) const {
  nncore::check_batch(objective, *graph_, batch);
}

template <class T>
void Network<T>::check_inputs(const Batch& batch) const {
  nncore::check_inputs<T>(*graph_, batch);
}

/// Forward and the loss, with its gradient if backward is to follow.
template <class T>
WeightedLoss Network<T>::evaluate(const Objective& objective, const Batch& batch, bool training,
                                  bool gradients, Workspace<T>& workspace, int ready) const {
  if (lay_out<T>(*graph_, objective.plan, objective.target_features, batch.count, gradients, workspace)) {
    ready = -1;
    find_bounded_steps(*graph_, objective.plan, *parameters_, workspace);
  }
  load_inputs(objective.plan, {batch.inputs, batch.rows, batch.first, batch.count, false, true}, workspace);
  for (const double largest : workspace.largest_input)
    if (!std::isfinite(largest)) check_inputs(batch);  // says where
  run_forward(objective.plan, {.training = training, .ready = ready}, workspace);
  return run_losses<T>(objective, batch, gradients, workspace);
}

template <class T>
double Network<T>::loss(const Objective& objective, const Batch& batch, Workspace<T>& workspace) const {
  const FloatingPointMode mode;
  if (batch.count <= kLossRows) return evaluate(objective, batch, false, false, workspace).loss;
  double loss_sum = 0.0, weight_sum = 0.0;
  const Batch all = in_largest_weight(batch);
  for (std::int64_t start = 0; start < batch.count; start += kLossRows) {
    const Batch part = rows_of(all, start, kLossRows);
    const WeightedLoss one = evaluate(objective, part, false, false, workspace);
    loss_sum += one.loss * one.weight;
    weight_sum += one.weight;
  }
  return weight_sum > 0.0 ? loss_sum / weight_sum : 0.0;
}

template <class T>
double Network<T>::loss_and_gradients(const Objective& objective, const Batch& batch, bool training,
                                      bool accumulate, Workspace<T>& workspace) const {
  const FloatingPointMode mode;
  if (training) check_training_rows(objective.plan, batch.count);
  const double loss = evaluate(objective, batch, training, true, workspace).loss;
  if (!std::isfinite(loss)) return loss;
  if (training) check_staged_state(*graph_, objective.plan, *parameters_, workspace);
  run_backward(objective.plan, false, accumulate, workspace);
  if (training) commit_state(*graph_, objective.plan, *parameters_, workspace);
  return loss;
}

/// `ready` is the value of this batch that the last step has computed, and becomes that of `next`; -1: none.
template <class T>
WeightedLoss Network<T>::step(const Objective& objective, const Batch& batch, const Batch* next,
                              const Optimizer& optimizer, OptimizerState<T>& state, Workspace<T>& workspace,
                              const StepOptions& options, int& ready) const {
  const ThreadTurn turn(workspace.step_threads, batch.count);
  const WeightedLoss result = evaluate(objective, batch, true, true, workspace, std::exchange(ready, -1));
  if (!std::isfinite(result.loss)) {
    throw NotFinite("the loss is " + std::to_string(result.loss) + " in step " +
                    std::to_string(state.steps + 1) + "; that step was not made");
  }
  if (!(result.weight > 0.0)) return result;
  const Plan& plan = objective.plan;
  check_staged_state(*graph_, plan, *parameters_, workspace);
  PlanUpdate<T> update(*graph_, plan, *parameters_, workspace, optimizer, options, state);
  run_backward(plan, false, false, workspace, &update);
  update.approve();
  commit_state(*graph_, plan, *parameters_, workspace);  // before what it was computed from may change
  ready = update.run(batch, next);
  return result;
}

template <class T>
double Network<T>::train_step(const Objective& objective, const Batch& batch, const Optimizer& optimizer,
                              OptimizerState<T>& state, Workspace<T>& workspace,
                              const StepOptions& options) const {
  validate(optimizer, state, parameters_->count());
  check_training_rows(objective.plan, batch.count);
  validate(options.factors);
  prepare_slots(options.transforms, state, *parameters_);
  const FloatingPointMode mode;
  int ready = -1;
  return step(objective, batch, nullptr, optimizer, state, workspace, options, ready).loss;
}

template <class T>
EpochResult Network<T>::train_epoch(const Objective& objective, const Batch& batch, std::int64_t batch_size,
                                    const Optimizer& optimizer, OptimizerState<T>& state,
                                    Workspace<T>& workspace, const EpochOptions& options) const {
  using Clock = std::chrono::steady_clock;
  if (batch_size < 1)
    throw std::invalid_argument("batch_size must be at least 1; got " + std::to_string(batch_size));
  validate(optimizer, state, parameters_->count());
  check_training_rows(objective.plan, std::min(batch.count, batch_size));
  check_training_rows(objective.plan, batch.count % batch_size);  // the last batch, where it is smaller
  FactorTable factors(options.factors);
  prepare_slots(options.transforms, state, *parameters_);
  const FloatingPointMode mode;
  EpochResult result;
  const Batch all = in_largest_weight(batch);
  double loss_sum = 0.0, weight_sum = 0.0;
  Clock::time_point last_tick{};  // the clock's beginning: the first step is followed by a tick
  int ready = -1;
  for (std::int64_t start = 0; start < batch.count; start += batch_size) {
    const Batch part = rows_of(all, start, batch_size), next = rows_of(all, start + batch_size, batch_size);
    const StepOptions of_step{factors.next(), options.transforms};
    const WeightedLoss one = step(objective, part, &next, optimizer, state, workspace, of_step, ready);
    ++result.steps;
    loss_sum += one.loss * one.weight;
    weight_sum += one.weight;
    result.mean_loss = weight_sum > 0.0 ? loss_sum / weight_sum : 0.0;
    if (!options.tick) continue;
    if (const Clock::time_point now = Clock::now(); now - last_tick >= kTickInterval) {
      last_tick = now;
      ready = -1;  // whoever is called may change the parameters
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
  update.run(plan_->segments, {});
  for (const auto& transform : options.transforms) transform->follow(call);
}

template class Network<float>;
template class Network<double>;

}  // namespace nncore
