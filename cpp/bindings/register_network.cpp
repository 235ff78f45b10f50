// Networks: arguments are checked and turned into tables, then the core runs without Python.
//
// The calls of users' loops come in two forms. The general one takes sequences, an array for every input,
// output and loss. The one named try_... takes one array for each, of networks that have one of each; what it
// does not take as it is makes it return None, and nothing has been done then: the caller converts it, or
// says what is wrong with it, and calls the general form.
#include "nncore/network.hpp"

#include <pybind11/stl.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "arrays.hpp"
#include "bound_optimizer.hpp"
#include "calls.hpp"
#include "guards.hpp"
#include "names.hpp"
#include "network_call.hpp"
#include "nncore/not_finite.hpp"
#include "nncore/operation.hpp"
#include "register.hpp"

namespace nncore::bindings {
namespace {

/// Loss terms planned for one network, by its number, which no other network ever has.
struct PlannedObjective {
  std::uint64_t network;
  std::size_t terms;
  std::shared_ptr<const Objective> objective;
};

/// A gradient that a Python loss returns.
template <class T>
void check_gradient(Matrix<const T> gradient, const std::string& name, std::int64_t step) {
  for (std::int64_t row = 0; row < gradient.rows; ++row)
    for (std::int64_t column = 0; column < gradient.columns; ++column)
      if (!std::isfinite(gradient(row, column)))
        throw NotFinite(name + " is " + std::to_string(gradient(row, column)) + " in row " +
                        std::to_string(row) + " of the batch, column " + std::to_string(column) +
                        ", in step " + std::to_string(step) + "; that step was not made");
}

/// Floating-point operations of a forward pass for one row: only decides whether the GIL is released.
template <class T>
double forward_flops(const Graph& graph, const Parameters<T>& store) {
  constexpr double kPerParameter = 2.0, kPerActivation = 20.0;
  double flops = 0.0;
  for (const Node& node : graph.nodes()) {
    if (node.operation == nullptr) continue;
    for (const int segment : node.operation->segments())
      flops +=
          kPerParameter * static_cast<double>(store.segments()[static_cast<std::size_t>(segment)].size());
    if (node.operation->activation()) flops += kPerActivation * static_cast<double>(node.features);
  }
  return flops;
}

/// Whether `read` takes its arguments; where it does not, nothing has happened.
template <class Read>
bool takes(Read read) {
  try {
    read();
    return true;
  } catch (const py::builtin_exception&) {  // TypeError or ValueError
    return false;
  }
}

constexpr Signature<2> kTryPredict("(x, out=None)");
constexpr Signature<1> kTryForward("(x)");
constexpr Signature<2> kTryBackward("(grad_output, accumulate=False)");
constexpr Signature<5> kTryLossAndGradients("(objective, x, y, sample_weight=None, accumulate=False)");
constexpr Signature<7> kTryTrainStep("(objective, x, y, optimizer, state, sample_weight=None, factors=None)");
constexpr Signature<3> kUpdate("(optimizer, state, factors=None)");

template <class T>
class BoundNetwork {
 public:
  BoundNetwork(std::shared_ptr<Graph> graph, std::shared_ptr<Parameters<T>> parameters)
      : network_(std::move(graph), std::move(parameters)),
        forward_flops_(forward_flops(network_.graph(), network_.parameters())) {}

  py::list predict(const py::sequence& x, const py::object& out) {
    const Sequence inputs(x);
    const Reading use(usage());
    const Lease call(*this);
    const std::int64_t rows = call->read_inputs(graph(), inputs);
    if (out.is_none())
      call->new_outputs(graph(), rows);
    else
      call->read_outputs(graph(), network_.parameters(), Sequence(out), rows);
    run_predict(rows, *call);
    return call->list_of_results();
  }

  py::object try_predict(const Arguments<2>& arguments) {
    PyObject *const x = arguments[0], *const out = arguments[1];
    if (!has_one_of_each() || !is_array(x) || (is_given(out) && !is_array(out))) return py::none();
    const Reading use(usage());
    const Lease call(*this);
    std::int64_t rows = 0;
    const bool taken = takes([&] {
      rows = call->read_inputs(graph(), {&x, 1}, true);
      if (is_given(out))
        call->read_outputs(graph(), network_.parameters(), {&out, 1}, rows);
      else
        call->new_outputs(graph(), rows);
    });
    if (!taken) return py::none();
    run_predict(rows, *call);
    return std::move(call->results[0]);
  }

  py::list forward(const py::sequence& x, bool training) {
    const Sequence inputs(x);
    const Training call(*this);
    run_forward(call->read_inputs(graph(), inputs), training, *call);
    return call->list_of_results();
  }

  py::object try_forward(const Arguments<1>& arguments) {
    PyObject* const x = arguments[0];
    if (!has_one_of_each() || !is_array(x)) return py::none();
    const Training call(*this);
    std::int64_t rows = 0;
    if (!takes([&] { rows = call->read_inputs(graph(), {&x, 1}, true); })) return py::none();
    run_forward(rows, true, *call);
    return std::move(call->results[0]);
  }

  py::list backward(const py::sequence& grad_outputs, bool accumulate, bool input_gradients) {
    const Sequence gradients(grad_outputs);
    const Training call(*this);
    check_forward();
    call->read_grad_outputs(graph(), "grad_output", gradients, forward_rows_);
    run_backward(accumulate, input_gradients, *call);
    return call->list_of_results();
  }

  py::object try_backward(const Arguments<2>& arguments) {
    PyObject* const grad_output = arguments[0];
    if (!has_one_of_each() || !is_array(grad_output)) return py::none();
    const Training call(*this);
    check_forward();
    const auto read = [&] {
      call->read_grad_outputs(graph(), "grad_output", {&grad_output, 1}, forward_rows_);
    };
    if (!takes(read)) return py::none();
    run_backward(as_flag(arguments[1]), true, *call);
    return std::move(call->results[0]);
  }

  PlannedObjective plan(const std::vector<std::tuple<Loss, int, double>>& terms) const {
    std::vector<LossTerm> parsed;
    for (const auto& [loss, output, weight] : terms) parsed.push_back({loss, output, weight});
    return {number_, parsed.size(), network_.plan(parsed)};
  }

  double loss(const PlannedObjective& objective, const py::sequence& x, const py::sequence& y,
              const py::object& sample_weight) {
    const Sequence inputs(x), targets(y);
    const Reading use(usage());
    const Lease call(*this);
    const Batch batch = read_batch(objective, inputs, targets, {}, sample_weight, *call);
    return compute(flops(kForward, batch.count), [&] {
      network_.check_batch(*objective.objective, batch);
      return network_.loss(*objective.objective, batch, call->workspace);
    });
  }

  double loss_and_gradients(const PlannedObjective& objective, const py::sequence& x, const py::sequence& y,
                            const py::object& sample_weight, bool accumulate, bool training) {
    const Sequence inputs(x), targets(y);
    const Training call(*this);
    const Batch batch = read_training_batch(objective, inputs, targets, {}, sample_weight, *call);
    return run_loss_and_gradients(objective, batch, training, accumulate, *call);
  }

  py::object try_loss_and_gradients(const Arguments<5>& arguments) {
    const auto& [planned, x, y, sample_weight, accumulate] = arguments;
    const auto& objective = as_object<PlannedObjective>(planned, "objective");
    const Training call(*this);
    const std::optional<Batch> batch = try_batch(objective, x, y, sample_weight, *call);
    if (!batch) return py::none();
    return py::float_(run_loss_and_gradients(objective, *batch, true, as_flag(accumulate), *call));
  }

  // Optimizers are copied for a call, while it has the GIL: another thread may change one meanwhile.

  double train_step(const PlannedObjective& objective, const py::sequence& x, const py::sequence& y,
                    const BoundOptimizer& optimizer, OptimizerState<T>& state, const py::object& rows,
                    const py::object& sample_weight, const py::object& factors) {
    const Sequence inputs(x), targets(y);
    const Training call(*this);
    const Batch batch = read_training_batch(objective, inputs, targets, rows, sample_weight, *call);
    return run_step(objective, batch, optimizer, read_factors(factors), state, *call);
  }

  py::object try_train_step(const Arguments<7>& arguments) {
    const auto& [planned, x, y, bound, slots, sample_weight, factors] = arguments;
    const auto& objective = as_object<PlannedObjective>(planned, "objective");
    const auto& optimizer = as_object<BoundOptimizer>(bound, "optimizer");
    auto& state = as_object<OptimizerState<T>>(slots, "state");
    const Training call(*this);
    const std::optional<Batch> batch = try_batch(objective, x, y, sample_weight, *call);
    if (!batch) return py::none();
    return py::float_(run_step(objective, *batch, optimizer, read_factors(factors), state, *call));
  }

  EpochResult train_epoch(const PlannedObjective& objective, const py::sequence& x, const py::sequence& y,
                          std::int64_t batch_size, const BoundOptimizer& optimizer, OptimizerState<T>& state,
                          const py::object& rows, const py::object& sample_weight, const py::object& tick,
                          const py::object& factors) {
    const Sequence inputs(x), targets(y);
    const Training call(*this);
    if (batch_size < 1)
      throw py::value_error("batch_size must be at least 1; got " + std::to_string(batch_size));
    const Batch batch = read_training_batch(objective, inputs, targets, rows, sample_weight, *call);
    BoundOptimizer now = optimizer;
    const std::vector<FactorRun> runs = read_factor_runs(factors);
    const auto between_steps = [&](std::int64_t steps, double mean_loss) {
      const py::gil_scoped_acquire gil;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (!tick.is_none()) tick(steps, mean_loss);
      now.settings = optimizer.settings;
      return true;
    };
    return compute(flops(kStep, batch.count), [&] {
      network_.check_batch(*objective.objective, batch);
      return network_.train_epoch(*objective.objective, batch, batch_size, now.settings, state,
                                  call->workspace, {runs, now.transforms, between_steps});
    });
  }

  double train_step_with(const py::function& loss, const py::sequence& x, const BoundOptimizer& bound,
                         OptimizerState<T>& state, const py::object& rows, const py::object& factors) {
    const Sequence inputs(x);
    const Training call(*this);  // held while `loss` runs, so that it cannot use the model half-way
    const BoundOptimizer optimizer = bound;
    const StepOptions options{read_factors(factors), optimizer.transforms};
    validate(optimizer.settings, state, network_.parameters().count());
    std::int64_t count = call->read_inputs(graph(), inputs);
    Batch batch;
    batch.inputs = call->inputs;
    batch.count = count;
    if (!rows.is_none()) {
      const py::array indices = as_array(rows, "rows");
      batch.rows = as_rows(indices, "rows", count);
      batch.count = indices.shape(0);
      network_.check_inputs(batch);  // before the rows are taken: it names them
      count = call->take_rows(rows, count);
    } else {
      network_.check_inputs(batch);
    }
    run_forward(count, true, *call);
    const py::object answer = loss(call->list_of_results());
    if (!py::isinstance<py::tuple>(answer) || py::len(answer) != 2)
      throw py::type_error("loss must return a pair: its value, and a list of one gradient an output");
    const double value = py::object(answer[py::int_(0)]).cast<double>();
    if (!std::isfinite(value)) {
      throw NotFinite("the loss is " + std::to_string(value) + " in step " + std::to_string(state.steps + 1) +
                      "; that step was not made");
    }
    const Sequence gradients(answer[py::int_(1)]);
    call->read_grad_outputs(graph(), "gradient of loss", gradients, count);
    for (const Matrix<const T>& gradient : call->grad_outputs)
      check_gradient(gradient, "the gradient of the loss", state.steps + 1);
    compute(flops(kStep, count), [&] {
      network_.backward(call->grad_outputs, {}, false, call->workspace);
      if (count > 0) network_.update(optimizer.settings, state, options);
    });
    return value;
  }

  void check_inputs(const py::sequence& x) {
    const Sequence inputs(x);
    const Lease call(*this);
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
  /// A call from the free list: each thread that predicts has one of its own.
  class Lease {
   public:
    explicit Lease(BoundNetwork& network) : network_(network) {
      const std::lock_guard lock(network.mutex_);
      if (network.idle_.empty()) {
        network.idle_.reserve(++network.calls_);  // so that giving it back cannot fail
        call_ = std::make_unique<NetworkCall<T>>();
      } else {
        call_ = std::move(network.idle_.back());
        network.idle_.pop_back();
      }
    }
    ~Lease() {
      call_->forget_arguments();
      const std::lock_guard lock(network_.mutex_);
      network_.idle_.push_back(std::move(call_));
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    NetworkCall<T>& operator*() const { return *call_; }
    NetworkCall<T>* operator->() const { return call_.get(); }

   private:
    BoundNetwork& network_;
    std::unique_ptr<NetworkCall<T>> call_;
  };

  /// The one training call, used alone. What forward left there waits for backward.
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

  static constexpr double kForward = 1.0, kStep = 3.0;  ///< in forward passes
  double flops(double passes, std::int64_t rows) const {
    return passes * forward_flops_ * static_cast<double>(rows);
  }

  const Graph& graph() const { return network_.graph(); }

  /// One input and one output.
  bool has_one_of_each() const { return graph().inputs().size() == 1 && graph().outputs().size() == 1; }

  void check_forward() const {
    if (forward_rows_ < 0)
      throw std::runtime_error("backward needs the values of a forward pass: call forward first");
  }

  Batch read_batch(const PlannedObjective& objective, Items x, Items y, py::handle rows,
                   py::handle sample_weight, NetworkCall<T>& call, bool row_allowed = false) const {
    if (objective.network != number_)
      throw py::value_error(
          "objective was planned by another network; needed: one from this network's plan()");
    return call.read_batch(graph(), x, y, objective.terms, rows, sample_weight, row_allowed);
  }

  /// A batch that is read where it lies while parameters and gradients are written.
  Batch read_training_batch(const PlannedObjective& objective, Items x, Items y, py::handle rows,
                            py::handle sample_weight, NetworkCall<T>& call, bool row_allowed = false) const {
    const Batch batch = read_batch(objective, x, y, rows, sample_weight, call, row_allowed);
    const Parameters<T>& store = network_.parameters();
    const std::int64_t bytes = store.count() * static_cast<std::int64_t>(sizeof(T));
    for (std::size_t i = 0; i < x.size(); ++i)
      if (touches(call.arrays[i], store.values(), bytes) || touches(call.arrays[i], store.gradients(), bytes))
        throw py::value_error("x shares memory with the model's parameters or gradients; give a copy of it");
    return batch;
  }

  std::optional<Batch> try_batch(const PlannedObjective& objective, PyObject* x, PyObject* y,
                                 PyObject* sample_weight, NetworkCall<T>& call) const {
    std::optional<Batch> batch;
    if (is_array(x) && is_array(y) && (!is_given(sample_weight) || is_array(sample_weight)))
      takes([&] { batch = read_training_batch(objective, {&x, 1}, {&y, 1}, {}, sample_weight, call, true); });
    return batch;
  }

  void run_predict(std::int64_t rows, NetworkCall<T>& call) const {
    compute(flops(kForward, rows),
            [&] { network_.predict(call.inputs, rows, call.outputs, call.workspace); });
  }

  /// A forward pass in the training workspace; its outputs are copied out.
  void run_forward(std::int64_t rows, bool training, NetworkCall<T>& call) {
    call.new_outputs(graph(), rows);
    compute(flops(kForward, rows), [&] {
      network_.forward(call.inputs, rows, training, call.workspace);
      for (std::size_t i = 0; i < call.outputs.size(); ++i) {
        const Matrix<const T> from = network_.output(static_cast<int>(i), call.workspace);
        const auto bytes = static_cast<std::size_t>(from.columns) * sizeof(T);
        for (std::int64_t row = 0; row < rows; ++row)
          std::memcpy(&call.outputs[i](row, 0), &from(row, 0), bytes);
      }
    });
    forward_rows_ = rows;
  }

  void run_backward(bool accumulate, bool input_gradients, NetworkCall<T>& call) {
    call.new_input_gradients(graph(), forward_rows_, input_gradients);
    compute(flops(kStep, forward_rows_),
            [&] { network_.backward(call.grad_outputs, call.outputs, accumulate, call.workspace); });
  }

  double run_loss_and_gradients(const PlannedObjective& objective, const Batch& batch, bool training,
                                bool accumulate, NetworkCall<T>& call) const {
    return compute(flops(kStep, batch.count), [&] {
      network_.check_batch(*objective.objective, batch);
      return network_.loss_and_gradients(*objective.objective, batch, training, accumulate, call.workspace);
    });
  }

  double run_step(const PlannedObjective& objective, const Batch& batch, BoundOptimizer optimizer,
                  const Factors& factors, OptimizerState<T>& state, NetworkCall<T>& call) const {
    return compute(flops(kStep, batch.count), [&] {
      network_.check_batch(*objective.objective, batch);
      return network_.train_step(*objective.objective, batch, optimizer.settings, state, call.workspace,
                                 {factors, optimizer.transforms});
    });
  }

  static std::uint64_t next_number() {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }

  Network<T> network_;
  double forward_flops_;  ///< for one row
  std::uint64_t number_ = next_number();
  NetworkCall<T> training_;
  std::int64_t forward_rows_ = -1;  ///< of the last forward pass; -1: there was none
  std::mutex mutex_;                ///< guards what follows
  std::size_t calls_ = 0;           ///< idle or not
  std::vector<std::unique_ptr<NetworkCall<T>>> idle_;
};

template <class T>
void register_class(py::module_& m, const char* name) {
  using Bound = BoundNetwork<T>;
  const py::none none;
  py::class_<Bound> type(
      m, name,
      "A graph at work on a store. x: a sequence of arrays, one a graph input, 2-D, any bool, "
      "int or float dtype,\n"
      "any strides. y: one a loss term. rows: contiguous int64 indices, or None: all. "
      "sample_weight: (B,), finite\n"
      "and >= 0, or None.\n\n"
      "TypeError: dtypes. ValueError: shapes and values. RuntimeError: another call uses the "
      "store in a way that\n"
      "excludes this one. All before anything is written. FloatingPointError: an input, or the loss, a "
      "gradient or\n"
      "an update of a step, is not finite; that step was not made.");
  type.def(py::init<std::shared_ptr<Graph>, std::shared_ptr<Parameters<T>>>(), py::arg("graph").none(false),
           py::arg("parameters").none(false))
      .def("predict", &Bound::predict, py::arg("x"), py::arg("out") = none,
           "The outputs, new or in the arrays of `out`, which must have contiguous rows. Several threads may "
           "predict\n"
           "at the same time.")
      .def("forward", &Bound::forward, py::arg("x"), py::arg("training") = true,
           "The outputs, copied; keeps what backward needs.")
      .def("backward", &Bound::backward, py::arg("grad_outputs"), py::arg("accumulate") = false,
           py::arg("input_gradients") = true,
           "From the gradient of each output of the last forward: fills (or adds to) the store's gradients, "
           "and\n"
           "returns those of the inputs.")
      .def("plan", &Bound::plan, py::arg("terms"), "The objective of (loss, output, weight) terms.")
      .def("check_inputs", &Bound::check_inputs, py::arg("x"),
           "FloatingPointError, naming the row and column, for an input that is not finite.")
      .def("loss", &Bound::loss, py::arg("objective"), py::arg("x"), py::arg("y"),
           py::arg("sample_weight") = none, "The loss; changes nothing.")
      .def("loss_and_gradients", &Bound::loss_and_gradients, py::arg("objective"), py::arg("x"), py::arg("y"),
           py::arg("sample_weight") = none, py::arg("accumulate") = false, py::arg("training") = true,
           "The loss; fills (or adds to) the store's gradients.")
      .def("train_step", &Bound::train_step, py::arg("objective"), py::arg("x"), py::arg("y"),
           py::arg("optimizer"), py::arg("state"), py::arg("rows") = none, py::arg("sample_weight") = none,
           py::arg("factors") = none,
           "Forward, loss, backward and update; returns the loss. Plain sgd stores no gradient of large "
           "weights.")
      .def(
          "train_epoch", &Bound::train_epoch, py::arg("objective"), py::arg("x"), py::arg("y"),
          py::arg("batch_size"), py::arg("optimizer"), py::arg("state"), py::arg("rows") = none,
          py::arg("sample_weight") = none, py::arg("tick") = none, py::arg("factors") = none,
          "Steps over all rows, batch_size at a time. tick(steps, mean_loss) is called between steps, about "
          "every\n"
          "50 ms, and may change the optimizer's hyperparameters. What it raises, and Ctrl-C, ends the epoch "
          "after a\n"
          "whole step. factors: runs (steps, learning rate's, weight decay's), the last one of all steps "
          "that "
          "are left.")
      .def("train_step_with", &Bound::train_step_with, py::arg("loss"), py::arg("x"), py::arg("optimizer"),
           py::arg("state"), py::arg("rows") = none, py::arg("factors") = none,
           "A step whose loss is Python: loss(outputs) returns its value and one gradient an output.");
  define<kTryPredict, &Bound::try_predict>(
      type, "try_predict",
      "predict for one array x, (B, I) or (I,), and one array out. As all of try_...: None, and nothing "
      "done,\n"
      "unless the network has one float input and one output, and everything is an array that fits.");
  define<kTryForward, &Bound::try_forward>(type, "try_forward", "forward for training, of one array.");
  define<kTryBackward, &Bound::try_backward>(type, "try_backward",
                                             "backward from one array; the gradient of the one input.");
  define<kTryLossAndGradients, &Bound::try_loss_and_gradients>(
      type, "try_loss_and_gradients", "loss_and_gradients for one array x and one array y.");
  define<kTryTrainStep, &Bound::try_train_step>(type, "try_train_step",
                                                "train_step on one array x and one array y.");
  define<kUpdate, &Bound::update>(type, "update", "One update from the store's gradients.");
}

}  // namespace

void register_network(py::module_& m) {
  py::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const NotFinite& error) {
      PyErr_SetString(PyExc_FloatingPointError, error.what());
    }
  });
  py::class_<PlannedObjective>(m, "Objective", "Loss terms, planned by a network for its own use.");
  py::class_<EpochResult>(m, "EpochResult", "What train_epoch did.")
      .def_readonly("mean_loss", &EpochResult::mean_loss)
      .def_readonly("steps", &EpochResult::steps);
  register_class<float>(m, "Network_float32");
  register_class<double>(m, "Network_float64");
}

}  // namespace nncore::bindings
