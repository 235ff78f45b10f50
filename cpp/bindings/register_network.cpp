// Networks: arguments are checked and turned into tables here, then the core runs without Python.
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
#include "guards.hpp"
#include "names.hpp"
#include "register.hpp"

namespace nncore::bindings {
namespace {

/// Floating-point operations per row and parameter: only decides whether the GIL is released.
constexpr double kForwardFlops = 2.0;
constexpr double kStepFlops = 6.0;

/// Loss terms planned for one network, by its number, which no other network ever has.
struct PlannedObjective {
  std::uint64_t network;
  std::size_t terms;
  std::shared_ptr<const Objective> objective;
};

/// Everything a running call needs beside its arguments, kept for the next call so that it need not allocate.
template <class T>
struct Call {
  Workspace<T> workspace;
  std::vector<Table> inputs, targets;
  std::vector<Matrix<T>> outputs;
  std::vector<Matrix<const T>> grad_outputs;
  std::vector<py::array> arrays;  ///< what the tables and matrices point into

  /// Needs the GIL, as arrays are let go.
  void forget_arguments() {
    inputs.clear();
    targets.clear();
    outputs.clear();
    grad_outputs.clear();
    arrays.clear();
  }
};

[[noreturn]] void raise_not_finite(double loss, std::int64_t step) {
  const std::string message = "the loss is " + std::to_string(loss) + " in step " + std::to_string(step) +
                              "; that step was not made, and the model is as the step before left it";
  PyErr_SetString(PyExc_FloatingPointError, message.c_str());
  throw py::error_already_set();
}

/// One array of a sequence is called by the sequence's own name.
Argument element(const char* name, std::size_t size, std::size_t index) {
  return {name, size == 1 ? -1 : static_cast<py::ssize_t>(index)};
}

void check_count(const char* name, std::size_t given, std::size_t needed) {
  if (given != needed)
    throw py::value_error(std::string(name) + " holds " + std::to_string(given) +
                          " arrays; needed: " + std::to_string(needed));
}

template <class T>
class BoundNetwork {
 public:
  BoundNetwork(std::shared_ptr<Graph> graph, std::shared_ptr<Parameters<T>> parameters)
      : network_(std::move(graph), std::move(parameters)) {}

  py::list predict(const py::sequence& x, const py::object& out) {
    const Reading use(usage());
    const Lease call(*this);
    const std::int64_t rows = read_inputs(x, *call);
    py::list result = out.is_none() ? new_outputs(rows, *call) : read_outputs(out, rows, *call);
    compute(flops(kForwardFlops, rows),
            [&] { network_.predict(call->inputs, rows, call->outputs, call->workspace); });
    return result;
  }

  py::list forward(const py::sequence& x, bool training) {
    const Training call(*this);
    const std::int64_t rows = read_inputs(x, *call);
    return run_forward(rows, training, *call);
  }

  py::list backward(const py::sequence& grad_outputs, bool accumulate, bool input_gradients) {
    const Training call(*this);
    const std::int64_t rows = forward_rows_;
    if (rows < 0) throw std::runtime_error("backward needs the values of a forward pass: call forward first");
    read_grad_outputs("grad_outputs", grad_outputs, rows, *call);
    py::list result;
    for (const int index : network_.graph().inputs()) {
      const Node& node = network_.graph().node(index);
      if (!input_gradients || node.is_integer) {
        call->outputs.emplace_back();
        continue;
      }
      py::array gradient = new_array<T>(rows, node.features);
      call->outputs.push_back(output_matrix<T>(gradient, "gradient"));
      result.append(std::move(gradient));
    }
    compute(flops(kStepFlops, rows),
            [&] { network_.backward(call->grad_outputs, call->outputs, accumulate, call->workspace); });
    return result;
  }

  PlannedObjective plan(const std::vector<std::tuple<std::string, int, double>>& terms) const {
    std::vector<LossTerm> parsed;
    for (const auto& [loss, output, weight] : terms)
      parsed.push_back({find_name(kLosses, "loss", loss), output, weight});
    return {number_, parsed.size(), network_.plan(parsed)};
  }

  double loss(const PlannedObjective& objective, const py::sequence& x, const py::sequence& y,
              const py::object& sample_weight) {
    const Reading use(usage());
    const Lease call(*this);
    Table weight;
    const Batch batch = read_batch(objective, x, y, py::none(), sample_weight, weight, *call);
    return compute(flops(kForwardFlops, batch.count), [&] {
      network_.check_batch(*objective.objective, batch);
      return network_.loss(*objective.objective, batch, call->workspace);
    });
  }

  double loss_and_gradients(const PlannedObjective& objective, const py::sequence& x, const py::sequence& y,
                            const py::object& sample_weight, bool accumulate) {
    const Training call(*this);
    Table weight;
    const Batch batch = read_batch(objective, x, y, py::none(), sample_weight, weight, *call);
    return compute(flops(kStepFlops, batch.count), [&] {
      network_.check_batch(*objective.objective, batch);
      return network_.loss_and_gradients(*objective.objective, batch, accumulate, call->workspace);
    });
  }

  double train_step(const PlannedObjective& objective, const py::sequence& x, const py::sequence& y,
                    const Optimizer& optimizer, OptimizerState<T>& state, const py::object& rows,
                    const py::object& sample_weight) {
    const Training call(*this);
    check_state(optimizer, state);
    Table weight;
    const Batch batch = read_batch(objective, x, y, rows, sample_weight, weight, *call);
    const double loss = compute(flops(kStepFlops, batch.count), [&] {
      network_.check_batch(*objective.objective, batch);
      return network_.train_step(*objective.objective, batch, optimizer, state, call->workspace);
    });
    if (!std::isfinite(loss)) raise_not_finite(loss, state.steps + 1);
    return loss;
  }

  EpochResult train_epoch(const PlannedObjective& objective, const py::sequence& x, const py::sequence& y,
                          std::int64_t batch_size, const Optimizer& optimizer, OptimizerState<T>& state,
                          const py::object& rows, const py::object& sample_weight, const py::object& tick) {
    const Training call(*this);
    if (batch_size < 1)
      throw py::value_error("batch_size is " + std::to_string(batch_size) + "; 1 or more is needed");
    check_state(optimizer, state);
    Table weight;
    const Batch batch = read_batch(objective, x, y, rows, sample_weight, weight, *call);
    const Optimizer unchanging = optimizer;  // a tick may set the learning rate: from the next epoch on
    const auto between_steps = [&tick](std::int64_t steps, double mean_loss) {
      const py::gil_scoped_acquire gil;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (!tick.is_none()) tick(steps, mean_loss);
      return true;
    };
    const EpochResult result = compute(flops(kStepFlops, batch.count), [&] {
      network_.check_batch(*objective.objective, batch);
      return network_.train_epoch(*objective.objective, batch, batch_size, unchanging, state, call->workspace,
                                  between_steps);
    });
    if (result.bad_loss) raise_not_finite(*result.bad_loss, state.steps + 1);
    return result;
  }

  double train_step_with(const py::function& loss, const py::sequence& x, const Optimizer& optimizer,
                         OptimizerState<T>& state, const py::object& rows) {
    const Training call(*this);  // held while `loss` runs, so that it cannot use the model half-way
    check_state(optimizer, state);
    std::int64_t count = read_inputs(x, *call);
    if (!rows.is_none()) count = take_rows(rows, count, *call);
    const py::list outputs = run_forward(count, true, *call);
    const py::object answer = loss(outputs);
    if (!py::isinstance<py::tuple>(answer) || py::len(answer) != 2)
      throw py::type_error("loss must return a pair: its value, and a list of one gradient an output");
    const double value = py::object(answer[py::int_(0)]).cast<double>();
    if (!std::isfinite(value)) raise_not_finite(value, state.steps + 1);
    read_grad_outputs("gradient of loss", py::object(answer[py::int_(1)]), count, *call);
    compute(flops(kStepFlops, count), [&] {
      network_.backward(call->grad_outputs, {}, false, call->workspace);
      if (count > 0) network_.update(optimizer, state);
    });
    return value;
  }

  void update(const Optimizer& optimizer, OptimizerState<T>& state) {
    const Writing use(usage());
    check_state(optimizer, state);
    constexpr std::int64_t kOnce = 1;
    compute(flops(kStepFlops, kOnce), [&] { network_.update(optimizer, state); });
  }

 private:
  /// A call from the free list: each thread that predicts has one of its own.
  class Lease {
   public:
    explicit Lease(BoundNetwork& network) : network_(network) {
      const std::lock_guard lock(network.mutex_);
      if (network.idle_.empty()) {
        call_ = std::make_unique<Call<T>>();
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
    Call<T>& operator*() const { return *call_; }
    Call<T>* operator->() const { return call_.get(); }

   private:
    BoundNetwork& network_;
    std::unique_ptr<Call<T>> call_;
  };

  /// The one training call, used alone. What forward left there waits for backward.
  class Training {
   public:
    explicit Training(BoundNetwork& network) : use_(network.usage()), call_(network.training_) {}
    ~Training() { call_.forget_arguments(); }
    Training(const Training&) = delete;
    Training& operator=(const Training&) = delete;
    Call<T>& operator*() const { return call_; }
    Call<T>* operator->() const { return &call_; }

   private:
    Writing use_;
    Call<T>& call_;
  };

  Usage& usage() const { return network_.parameters().usage(); }

  double flops(double per_row_and_parameter, std::int64_t rows) const {
    return per_row_and_parameter * static_cast<double>(rows) *
           static_cast<double>(network_.parameters().count());
  }

  std::int64_t features_of_output(std::size_t index) const {
    const Graph& graph = network_.graph();
    return graph.node(graph.outputs()[index]).features;
  }

  /// Fills call.inputs; returns the number of rows that all of them have.
  std::int64_t read_inputs(const py::sequence& x, Call<T>& call) const {
    const Graph& graph = network_.graph();
    const std::size_t size = graph.inputs().size();
    check_count("x", x.size(), size);
    std::int64_t rows = kAny;
    for (std::size_t i = 0; i < size; ++i) {
      const Argument argument = element("x", size, i);
      const Node& node = graph.node(graph.inputs()[i]);
      call.arrays.push_back(as_array(py::object(x[i]), argument));
      call.inputs.push_back(as_table(call.arrays.back(), argument,
                                     {.rows = rows, .columns = node.features, .integers = node.is_integer}));
      rows = call.inputs.back().rows;
    }
    return rows;
  }

  Batch read_batch(const PlannedObjective& objective, const py::sequence& x, const py::sequence& y,
                   const py::object& rows, const py::object& sample_weight, Table& weight,
                   Call<T>& call) const {
    if (objective.network != number_)
      throw py::value_error(
          "objective was planned by another network; needed: one from this network's plan()");
    Batch batch;
    const std::int64_t row_count = read_inputs(x, call);
    check_count("y", y.size(), objective.terms);
    for (std::size_t i = 0; i < objective.terms; ++i) {
      const Argument argument = element("y", objective.terms, i);
      call.arrays.push_back(as_array(py::object(y[i]), argument));
      call.targets.push_back(
          as_table(call.arrays.back(), argument, {.rows = row_count, .vector_allowed = true}));
    }
    batch.inputs = call.inputs;
    batch.targets = call.targets;
    batch.count = row_count;
    if (!rows.is_none()) {
      call.arrays.push_back(as_array(rows, "rows"));
      batch.rows = as_rows(call.arrays.back(), "rows", row_count);
      batch.count = call.arrays.back().shape(0);
    }
    if (!sample_weight.is_none()) {
      call.arrays.push_back(as_array(sample_weight, "sample_weight"));
      weight = as_table(call.arrays.back(), "sample_weight",
                        {.rows = row_count, .columns = 1, .vector_allowed = true});
      check_sample_weight(weight, batch.rows, batch.count);
      batch.sample_weight = &weight;
    }
    return batch;
  }

  /// Replaces the inputs by the rows that are asked for.
  std::int64_t take_rows(const py::object& rows, std::int64_t row_count, Call<T>& call) const {
    const py::array indices = as_array(rows, "rows");
    as_rows(indices, "rows", row_count);
    for (std::size_t i = 0; i < call.inputs.size(); ++i) {
      call.arrays[i] = call.arrays[i].attr("take")(indices, 0);
      call.inputs[i] = as_table(call.arrays[i], element("x", call.inputs.size(), i), {});
    }
    return indices.shape(0);
  }

  py::list new_outputs(std::int64_t rows, Call<T>& call) const {
    const std::size_t size = network_.graph().outputs().size();
    py::list result(size);
    for (std::size_t i = 0; i < size; ++i) {
      const std::int64_t features = features_of_output(i);
      py::array array = new_array<T>(rows, features);
      call.outputs.push_back({static_cast<T*>(array.mutable_data()), rows, features});
      result[i] = std::move(array);
    }
    return result;
  }

  /// Fills call.outputs with the caller's arrays, which must not share memory with anything the call reads.
  py::list read_outputs(const py::sequence& out, std::int64_t rows, Call<T>& call) const {
    const std::size_t size = network_.graph().outputs().size();
    const std::size_t input_count = call.arrays.size();
    const Parameters<T>& store = network_.parameters();
    check_count("out", out.size(), size);
    py::list result(size);
    for (std::size_t i = 0; i < size; ++i) {
      const Argument argument = element("out", size, i);
      py::array array = as_array(py::object(out[i]), argument);
      call.outputs.push_back(
          output_matrix<T>(array, argument, {Layout::contiguous_rows, rows, features_of_output(i)}));
      for (std::size_t j = 0; j < call.arrays.size(); ++j)
        check_no_overlap(array, argument, call.arrays[j],
                         j < input_count ? element("x", input_count, j) : Argument("another array of out"));
      if (touches(array, store.values(), store.count() * static_cast<std::int64_t>(sizeof(T))))
        throw py::value_error(argument.text() + " shares memory with the model's parameters");
      result[i] = array;
      call.arrays.push_back(std::move(array));
    }
    return result;
  }

  void read_grad_outputs(const char* name, const py::sequence& gradients, std::int64_t rows,
                         Call<T>& call) const {
    const std::size_t size = network_.graph().outputs().size();
    check_count(name, gradients.size(), size);
    for (std::size_t i = 0; i < size; ++i) {
      const Argument argument = element(name, size, i);
      call.arrays.push_back(as_array(py::object(gradients[i]), argument));
      call.grad_outputs.push_back(input_matrix<T>(call.arrays.back(), argument,
                                                  {Layout::contiguous_rows, rows, features_of_output(i)}));
    }
  }

  /// A forward pass in the training workspace; its outputs are copied out.
  py::list run_forward(std::int64_t rows, bool training, Call<T>& call) {
    py::list result = new_outputs(rows, call);
    compute(flops(kForwardFlops, rows), [&] {
      network_.forward(call.inputs, rows, training, call.workspace);
      for (std::size_t i = 0; i < call.outputs.size(); ++i) {
        const Matrix<const T> from = network_.output(static_cast<int>(i), call.workspace);
        const auto bytes = static_cast<std::size_t>(from.columns) * sizeof(T);
        for (std::int64_t row = 0; row < rows; ++row)
          std::memcpy(&call.outputs[i](row, 0), &from(row, 0), bytes);
      }
    });
    call.outputs.clear();
    forward_rows_ = rows;
    return result;
  }

  void check_state(const Optimizer& optimizer, const OptimizerState<T>& state) const {
    const std::int64_t count = network_.parameters().count();
    const int moments = moment_count(optimizer.kind);
    if (state.first_moment.size() != (moments >= 1 ? count : 0) ||
        state.second_moment.size() != (moments >= 2 ? count : 0))
      throw py::value_error(std::string("state has moments of ") + std::to_string(state.first_moment.size()) +
                            " and " + std::to_string(state.second_moment.size()) + " elements; " +
                            name(optimizer.kind) + " with " + std::to_string(count) + " parameters needs " +
                            std::to_string(moments) + " of that many");
  }

  static std::uint64_t next_number() {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }

  Network<T> network_;
  std::uint64_t number_ = next_number();
  Call<T> training_;
  std::int64_t forward_rows_ = -1;  ///< of the last forward pass; -1: there was none
  std::mutex mutex_;                ///< guards idle_
  std::vector<std::unique_ptr<Call<T>>> idle_;
};

template <class T>
void register_class(py::module_& m, const char* name) {
  using Bound = BoundNetwork<T>;
  const py::none none;
  py::class_<Bound>(m, name,
                    "A graph at work on a store. x: a sequence of arrays, one a graph input, 2-D, any bool, "
                    "int or float dtype,\n"
                    "any strides. y: one a loss term. rows: contiguous int64 indices, or None: all. "
                    "sample_weight: (B,), finite\n"
                    "and >= 0, or None.\n\n"
                    "TypeError: dtypes. ValueError: shapes and values. RuntimeError: another call uses the "
                    "store in a way that\n"
                    "excludes this one. All before anything is written. FloatingPointError: the loss of a "
                    "step is not finite;\n"
                    "that step was not made.")
      .def(py::init<std::shared_ptr<Graph>, std::shared_ptr<Parameters<T>>>(), py::arg("graph"),
           py::arg("parameters"))
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
           "returns those of the float inputs.")
      .def("plan", &Bound::plan, py::arg("terms"), "The objective of (loss, output, weight) terms.")
      .def("loss", &Bound::loss, py::arg("objective"), py::arg("x"), py::arg("y"),
           py::arg("sample_weight") = none, "The loss; changes nothing.")
      .def("loss_and_gradients", &Bound::loss_and_gradients, py::arg("objective"), py::arg("x"), py::arg("y"),
           py::arg("sample_weight") = none, py::arg("accumulate") = false,
           "The loss; fills (or adds to) the store's gradients.")
      .def("train_step", &Bound::train_step, py::arg("objective"), py::arg("x"), py::arg("y"),
           py::arg("optimizer"), py::arg("state"), py::arg("rows") = none, py::arg("sample_weight") = none,
           "Forward, loss, backward and update; returns the loss.")
      .def("train_epoch", &Bound::train_epoch, py::arg("objective"), py::arg("x"), py::arg("y"),
           py::arg("batch_size"), py::arg("optimizer"), py::arg("state"), py::arg("rows") = none,
           py::arg("sample_weight") = none, py::arg("tick") = none,
           "Steps over all rows, batch_size at a time. tick(steps, mean_loss) is called between steps, about "
           "every\n"
           "50 ms. What it raises, and Ctrl-C, ends the epoch after a whole step.")
      .def("train_step_with", &Bound::train_step_with, py::arg("loss"), py::arg("x"), py::arg("optimizer"),
           py::arg("state"), py::arg("rows") = none,
           "A step whose loss is Python: loss(outputs) returns its value and one gradient an output.")
      .def("update", &Bound::update, py::arg("optimizer"), py::arg("state"),
           "One update from the store's gradients.");
}

}  // namespace

void register_network(py::module_& m) {
  py::class_<PlannedObjective>(m, "Objective", "Loss terms, planned by a network for its own use.");
  py::class_<EpochResult>(m, "EpochResult", "What train_epoch did.")
      .def_readonly("mean_loss", &EpochResult::mean_loss)
      .def_readonly("steps", &EpochResult::steps);
  register_class<float>(m, "Network_float32");
  register_class<double>(m, "Network_float64");
}

}  // namespace nncore::bindings
