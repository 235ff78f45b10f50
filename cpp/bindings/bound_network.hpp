// Networks for Python: arguments are checked and turned into tables, then the core runs without Python.
//
// Methods that user loops call take what the user gave. An array that fits is used as it is. For anything
// else, `convert` is called, once and before the store is in use, and the call continues with the arrays that
// it returns. `convert` also raises the error if the arguments are wrong.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "arrays.hpp"
#include "bound_optimizer.hpp"
#include "call_pool.hpp"
#include "calls.hpp"
#include "functions/join.hpp"
#include "guards.hpp"
#include "made.hpp"
#include "network_call.hpp"
#include "nncore/network.hpp"
#include "nncore/not_finite.hpp"
#include "nncore/operation.hpp"

namespace nncore::bindings {

/// The number of networks made so far, of both precisions.
inline std::atomic<std::uint64_t> networks_made{0};

/// Loss terms planned for one network, which is identified by its unique number.
struct PlannedObjective {
  std::uint64_t network;
  std::size_t terms;
  std::shared_ptr<const Objective> objective;
};

/// Throws NotFinite unless a gradient that a Python loss returned is finite.
template <class T>
void check_gradient(Matrix<const T> gradient, const std::string& name, std::int64_t step) {
  for (std::int64_t row = 0; row < gradient.rows; ++row)
    for (std::int64_t column = 0; column < gradient.columns; ++column)
      if (!std::isfinite(gradient(row, column)))
        throw NotFinite(name + " is " + std::to_string(gradient(row, column)) + " in row " +
                        std::to_string(row) + " of the batch, column " + std::to_string(column) +
                        ", in step " + std::to_string(step) + "; that step was not made");
}

/// Estimated floating-point operations of a forward pass per row; only decides whether the GIL is released.
template <class T>
double forward_flops(const Graph& graph, const Parameters<T>& store) {
  constexpr double kPerParameter = 2.0, kPerActivation = 20.0, kPerValue = 1.0;
  double flops = 0.0;
  for (const Node& node : graph.nodes()) {
    flops += kPerValue * static_cast<double>(node.features);
    if (node.operation == nullptr) continue;
    for (const int segment : node.operation->segments())
      flops +=
          kPerParameter * static_cast<double>(store.segments()[static_cast<std::size_t>(segment)].size());
    if (node.operation->activation()) flops += kPerActivation * static_cast<double>(node.features);
  }
  return flops;
}

/// What a call does with arguments that do not fit.
enum class Misfits {
  raise,  ///< raises an error
  leave   ///< does nothing; the converter is called next
};

/// Runs `read` and returns whether the arguments fit.
template <class Read>
bool takes(Misfits misfits, Read read) {
  try {
    read();
    return true;
  } catch (const py::builtin_exception&) {  // TypeError or ValueError
    if (misfits == Misfits::raise) throw;
    return false;
  }
}

/// Makes a call with the given arrays or, if they do not fit, with those that `convert` returns. `call` takes
/// Items and Misfits and returns null if it left the arguments. The converter may run any Python and use the
/// network.
template <class Call>
py::object with_arrays(const char* name, PyObject* given, PyObject* convert, Call call) {
  if (!is_given(convert)) return call(OneOrSeveral(given, name), Misfits::raise);
  if (is_array(given))
    if (py::object result = call(Items(&given, 1), Misfits::leave)) return result;
  const py::object arrays = call_python(convert, py::handle(given));
  return call(OneOrSeveral(arrays, name), Misfits::raise);
}

/// The same for a batch. `call` takes x, y, sample_weight and Misfits.
template <class Call>
py::object with_batch(PyObject* x, PyObject* y, PyObject* sample_weight, PyObject* convert, Call call) {
  if (!is_given(convert))
    return call(OneOrSeveral(x, "x"), OneOrSeveral(y, "y"), sample_weight, Misfits::raise);
  const bool is_weighted = is_given(sample_weight);
  if (is_array(x) && is_array(y) && (!is_weighted || is_array(sample_weight)))
    if (py::object result = call(Items(&x, 1), Items(&y, 1), sample_weight, Misfits::leave)) return result;
  const py::handle weight = is_weighted ? sample_weight : Py_None;
  const py::object samples = call_python(convert, py::handle(x), py::handle(y), weight);
  if (PyTuple_Check(samples.ptr()) == 0)
    throw py::type_error(std::string("convert must return a tuple of x, y and sample_weight; got ") +
                         Py_TYPE(samples.ptr())->tp_name);
  if (py::len(samples) != 3)
    throw py::value_error(
        join("convert must return x, y and sample_weight; got ", py::len(samples), " objects"));
  PyObject* const* const items = PySequence_Fast_ITEMS(samples.ptr());
  return call(OneOrSeveral(items[0], "x"), OneOrSeveral(items[1], "y"), items[2], Misfits::raise);
}

template <class T>
class BoundNetwork {
 public:
  BoundNetwork(std::shared_ptr<Graph> graph, std::shared_ptr<Parameters<T>> parameters)
      : network_(std::move(graph), std::move(parameters)),
        forward_flops_(forward_flops(network_.graph(), network_.parameters())) {}

  py::object predict(const Arguments<3>& arguments) {
    PyObject* const out = arguments[1];
    std::optional<Sequence> outs;  // read before the store is in use, as a sequence may run any Python
    if (is_given(out) && graph().outputs().size() > 1) outs.emplace(out, "out");
    return with_arrays("x", arguments[0], arguments[2], [&](Items x, Misfits misfits) -> py::object {
      const Reading use(usage());
      const Lease<T> call(idle_);
      std::int64_t rows = 0;
      if (!takes(misfits, [&] { rows = call->read_inputs(graph(), x, true); })) return {};
      if (is_given(out))
        call->read_outputs(graph(), network_.parameters(), outs ? Items(*outs) : Items(&out, 1), rows);
      else
        call->new_outputs(graph(), rows);
      compute(flops(kForward, rows),
              [&] { network_.predict(call->inputs, rows, call->outputs, call->workspace); });
      return call->take_results();
    });
  }

  py::object forward(const Arguments<3>& arguments) {
    const bool training = as_flag(arguments[1], "training", true);
    return with_arrays("x", arguments[0], arguments[2], [&](Items x, Misfits misfits) -> py::object {
      const Training call(*this);
      std::int64_t rows = 0;
      if (!takes(misfits, [&] { rows = call->read_inputs(graph(), x, true); })) return {};
      run_forward(rows, training, *call);
      return call->take_results();
    });
  }

  py::object backward(const Arguments<4>& arguments) {
    constexpr const char* kName = "grad_output";
    const bool accumulate = as_flag(arguments[1], "accumulate");
    const bool input_gradients = as_flag(arguments[2], "input_gradients", true);
    return with_arrays(kName, arguments[0], arguments[3], [&](Items given, Misfits misfits) -> py::object {
      const Training call(*this);
      if (forward_rows_ < 0)
        throw std::runtime_error("backward needs the values of a forward pass: call forward first");
      const auto read = [&] { call->read_grad_outputs(graph(), kName, given, forward_rows_); };
      if (!takes(misfits, read)) return {};
      call->new_input_gradients(graph(), forward_rows_, input_gradients);
      compute(flops(kStep, forward_rows_),
              [&] { network_.backward(call->grad_outputs, call->outputs, accumulate, call->workspace); });
      return call->take_results();
    });
  }

  PlannedObjective plan(const std::vector<std::tuple<Loss, int, double>>& terms) const {
    std::vector<LossTerm> parsed;
    for (const auto& [loss, output, weight] : terms) parsed.push_back({loss, output, weight});
    return {number_, parsed.size(), network_.plan(parsed)};
  }

  double loss(const PlannedObjective& objective, const py::object& x, const py::object& y,
              const py::object& sample_weight) {
    check_planned_here(objective);
    const OneOrSeveral inputs(x, "x"), targets(y, "y");
    const Reading use(usage());
    const Lease<T> call(idle_);
    const Batch batch = call->read_batch(graph(), inputs, targets, objective.terms, {}, sample_weight);
    return compute(flops(kForward, batch.count), [&] {
      network_.check_batch(*objective.objective, batch);
      return network_.loss(*objective.objective, batch, call->workspace);
    });
  }

  py::object loss_and_gradients(const Arguments<7>& arguments) {
    const auto& objective = as_object<PlannedObjective>(arguments[0], "objective");
    const bool accumulate = as_flag(arguments[4], "accumulate");
    const bool training = as_flag(arguments[5], "training", true);
    const auto run = [&](const Batch& batch, NetworkCall<T>& call) {
      return network_.loss_and_gradients(*objective.objective, batch, training, accumulate, call.workspace);
    };
    return on_batch(objective, arguments[1], arguments[2], arguments[3], arguments[6], run);
  }

  // A call copies its optimizer while it holds the GIL: another thread may change the original.

  py::object train_step(const Arguments<8>& arguments) {
    const auto& objective = as_object<PlannedObjective>(arguments[0], "objective");
    const BoundOptimizer optimizer = as_object<BoundOptimizer>(arguments[3], "optimizer");
    auto& state = as_object<OptimizerState<T>>(arguments[4], "state");
    const StepOptions options{read_factors(arguments[6]), optimizer.transforms};
    const auto run = [&](const Batch& batch, NetworkCall<T>& call) {
      return network_.train_step(*objective.objective, batch, optimizer.settings, state, call.workspace,
                                 options);
    };
    return on_batch(objective, arguments[1], arguments[2], arguments[5], arguments[7], run);
  }

  EpochResult train_epoch(const PlannedObjective& objective, const py::object& x, const py::object& y,
                          std::int64_t batch_size, const BoundOptimizer& optimizer, OptimizerState<T>& state,
                          const py::object& rows, const py::object& sample_weight, const py::object& tick,
                          const py::object& factors) {
    check_planned_here(objective);
    const OneOrSeveral inputs(x, "x"), targets(y, "y");
    const std::vector<FactorRun> runs = read_factor_runs(factors);
    const Training call(*this);
    if (batch_size < 1)
      throw py::value_error("batch_size must be at least 1; got " + std::to_string(batch_size));
    const Batch batch = read_training_batch(objective, inputs, targets, rows, sample_weight, *call);
    BoundOptimizer now = optimizer;
    const auto between_steps = [&](std::int64_t steps, double mean_loss) {
      const GilAcquire gil;
      handle_signals();
      if (!tick.is_none()) call_python(tick, steps, mean_loss);
      now.settings = optimizer.settings;
      return true;
    };
    return compute(flops(kStep, batch.count), [&] {
      network_.check_batch(*objective.objective, batch);
      return network_.train_epoch(*objective.objective, batch, batch_size, now.settings, state,
                                  call->workspace, {runs, now.transforms, between_steps});
    });
  }

  double train_step_with(const py::function& loss, const py::object& x, const BoundOptimizer& bound,
                         OptimizerState<T>& state, const py::object& rows, const py::object& factors) {
    const OneOrSeveral inputs(x, "x");
    const BoundOptimizer optimizer = bound;
    const StepOptions options{read_factors(factors), optimizer.transforms};
    const Training call(*this);  // held while `loss` runs, so that it cannot use the model within the step
    validate(optimizer.settings, state, network_.parameters().count());
    std::int64_t count = call->read_inputs(graph(), inputs);
    Batch batch;
    batch.inputs = call->inputs;
    batch.count = count;
    if (!rows.is_none()) {
      call->read_rows(rows, count);
      batch.rows = call->rows.data();
      batch.count = std::ssize(call->rows);
    }
    compute(flops(kForward, batch.count), [&] { network_.check_inputs(batch); });
    if (!rows.is_none())
      count = call->take_rows(graph(), rows);  // after check_inputs, whose errors name rows of x
    run_forward(count, true, *call);
    const py::object answer = call_python(loss, call->list_of_results());
    if (!py::isinstance<py::tuple>(answer) || py::len(answer) != 2)
      throw py::type_error("loss must return a pair (value, gradients) with one gradient per output; got " +
                           described(answer));
    const py::object given = answer[py::int_(0)];
    const double value = PyFloat_AsDouble(given.ptr());
    if (PyErr_Occurred() != nullptr) {
      PyErr_Clear();
      throw py::type_error(std::string("the value that loss returns must be a number; got ") +
                           Py_TYPE(given.ptr())->tp_name);
    }
    if (!std::isfinite(value)) {
      throw NotFinite("the loss is " + std::to_string(value) + " in step " + std::to_string(state.steps + 1) +
                      "; that step was not made");
    }
    const Sequence gradients(answer[py::int_(1)], "gradient of loss");
    call->read_grad_outputs(graph(), "gradient of loss", gradients, count);
    compute(flops(kStep, count), [&] {
      for (const Matrix<const T>& gradient : call->grad_outputs)
        check_gradient(gradient, "the gradient of the loss", state.steps + 1);
      network_.backward(call->grad_outputs, {}, false, call->workspace);
      if (count > 0) network_.update(optimizer.settings, state, options);
    });
    return value;
  }

  void check_inputs(const py::object& x) {
    const OneOrSeveral inputs(x, "x");
    const Lease<T> call(idle_);
    Batch batch;
    batch.count = call->read_inputs(graph(), inputs);
    batch.inputs = call->inputs;
    compute(flops(kForward, batch.count), [&] { network_.check_inputs(batch); });
  }

  py::object update(const Arguments<3>& arguments) {
    const BoundOptimizer optimizer = as_object<BoundOptimizer>(arguments[0], "optimizer");
    auto& state = as_object<OptimizerState<T>>(arguments[1], "state");
    const StepOptions options{read_factors(arguments[2]), optimizer.transforms};
    const Writing use(usage());
    compute(flops(kStep, 1), [&] { network_.update(optimizer.settings, state, options); });
    return py::none();
  }

 private:
  /// The call of the network that trains, locked for one user. It keeps what forward saved for backward.
  class Training {
   public:
    explicit Training(BoundNetwork& network) : use_(network.usage()), call_(network.training_) {}
    ~Training() { call_.forget_arguments(); }
    Training(const Training&) = delete;
    Training& operator=(const Training&) = delete;
    NetworkCall<T>& operator*() const { return call_; }
    NetworkCall<T>* operator->() const { return &call_; }

   private:
    Writing use_;
    NetworkCall<T>& call_;
  };

  Usage& usage() const { return network_.parameters().usage(); }

  static constexpr double kForward = 1.0, kStep = 3.0;  ///< cost in forward passes
  double flops(double passes, std::int64_t rows) const {
    return passes * forward_flops_ * static_cast<double>(rows);
  }

  const Graph& graph() const { return network_.graph(); }

  void check_planned_here(const PlannedObjective& objective) const {
    if (objective.network != number_)
      throw py::value_error(
          "objective must be from this network's plan(); got one planned by another network");
  }

  /// A batch that is read in place while parameters and gradients are written.
  Batch read_training_batch(const PlannedObjective& objective, Items x, Items y, py::handle rows,
                            py::handle sample_weight, NetworkCall<T>& call, bool row_allowed = false) const {
    const Batch batch = call.read_batch(graph(), x, y, objective.terms, rows, sample_weight, row_allowed);
    const Parameters<T>& store = network_.parameters();
    const std::int64_t bytes = store.count() * static_cast<std::int64_t>(sizeof(T));
    for (std::size_t i = 0; i < call.arrays.size(); ++i)
      if (touches(call.arrays[i], store.values(), bytes) || touches(call.arrays[i], store.gradients(), bytes))
        throw py::value_error(std::string(i < x.size()              ? "x"
                                          : i < x.size() + y.size() ? "y"
                                                                    : "sample_weight") +
                              " must not share memory with the model's parameters or gradients; got "
                              "overlapping arrays: pass a copy");
    return batch;
  }

  /// Checks a batch and calls `run` with it, which returns the loss.
  template <class Run>
  py::object on_batch(const PlannedObjective& objective, PyObject* x, PyObject* y, PyObject* sample_weight,
                      PyObject* convert, Run run) {
    check_planned_here(objective);
    const auto call_on = [&](Items inputs, Items targets, PyObject* weight, Misfits misfits) -> py::object {
      const Training call(*this);
      Batch batch;
      const auto read = [&] {
        batch = read_training_batch(objective, inputs, targets, {}, weight, *call, true);
      };
      if (!takes(misfits, read)) return {};
      return py::float_(compute(flops(kStep, batch.count), [&] {
        network_.check_batch(*objective.objective, batch);
        return run(batch, *call);
      }));
    };
    return with_batch(x, y, sample_weight, convert, call_on);
  }

  /// Runs a forward pass in the training workspace and copies its outputs.
  void run_forward(std::int64_t rows, bool training, NetworkCall<T>& call) {
    call.new_outputs(graph(), rows);
    forward_rows_ = -1;
    compute(flops(kForward, rows), [&] {
      network_.forward(call.inputs, rows, training, call.workspace);
      for (std::size_t i = 0; i < call.outputs.size(); ++i) {
        const Matrix<const T> from = network_.output(static_cast<int>(i), call.workspace);
        for (std::int64_t row = 0; row < rows; ++row) {
          if (row % 1024 == 1023) check_interrupt();
          std::copy_n(&from(row, 0), from.columns, &call.outputs[i](row, 0));
        }
      }
    });
    forward_rows_ = rows;
  }

  Network<T> network_;
  double forward_flops_;  ///< per row
  std::uint64_t number_ = ++networks_made;
  NetworkCall<T> training_;
  std::int64_t forward_rows_ = -1;  ///< of the last forward pass; -1 if there was none
  CallPool<T> idle_;
};

}  // namespace nncore::bindings
