// Networks: the class that Python knows. What its methods do is in bound_network.hpp.
#include <pybind11/stl.h>

#include <exception>

#include "bound_network.hpp"
#include "calls.hpp"
#include "nncore/not_finite.hpp"
#include "register.hpp"

namespace nncore::bindings {
namespace {

constexpr Signature<3> kPredict("(x, out=None, convert=None)");
constexpr Signature<3> kForward("(x, training=True, convert=None)");
constexpr Signature<4> kBackward("(grad_output, accumulate=False, input_gradients=True, convert=None)");
constexpr Signature<7> kLossAndGradients(
    "(objective, x, y, sample_weight=None, accumulate=False, training=True, convert=None)");
constexpr Signature<8> kTrainStep(
    "(objective, x, y, optimizer, state, sample_weight=None, factors=None, convert=None)");
constexpr Signature<3> kUpdate("(optimizer, state, factors=None)");

/// The methods that users' loops call.
template <class T>
void define_calls(py::class_<BoundNetwork<T>>& type) {
  using Bound = BoundNetwork<T>;
  define<kPredict, &Bound::predict>(
      type, "predict",
      "The outputs, new or in `out`, which must have contiguous rows: an array, or a list where there are "
      "several.\n"
      "Several threads may predict at the same time. convert(x) returns arrays.");
  define<kForward, &Bound::forward>(
      type, "forward", "The outputs, copied; keeps what backward needs. convert(x) returns arrays.");
  define<kBackward, &Bound::backward>(
      type, "backward",
      "From the gradient of each output of the last forward: fills (or adds to) the store's gradients, and\n"
      "returns those of the inputs. convert(grad_output) returns arrays.");
  define<kLossAndGradients, &Bound::loss_and_gradients>(
      type, "loss_and_gradients",
      "The loss; fills (or adds to) the store's gradients. convert(x, y, sample_weight) returns the three.");
  define<kTrainStep, &Bound::train_step>(
      type, "train_step",
      "Forward, loss, backward and update; returns the loss. Plain sgd stores no gradient of large weights.\n"
      "convert(x, y, sample_weight) returns the three.");
  define<kUpdate, &Bound::update>(type, "update", "One update from the store's gradients.");
}

template <class T>
void register_class(py::module_& m, const char* name) {
  using Bound = BoundNetwork<T>;
  const py::none none;
  py::class_<Bound> type(
      m, name,
      "A graph at work on a store. x: an array, or a sequence of them, one a graph input, 2-D, any bool, "
      "int or\n"
      "float dtype, any strides. y: the same, one a loss term. rows: contiguous int64 indices, or None: "
      "all.\n"
      "sample_weight: (B,), finite and >= 0, or a sequence of them, one a loss term, or None. The methods "
      "with\n"
      "`convert` take anything then: what is not one array that fits goes to it, and its answer is used.\n\n"
      "TypeError: dtypes. ValueError: shapes and values. RuntimeError: another call uses the "
      "store in a way that\n"
      "excludes this one. All before anything is written. FloatingPointError: an input, or the loss, a "
      "gradient or\n"
      "an update of a step, is not finite; that step was not made.");
  type.def(py::init<std::shared_ptr<Graph>, std::shared_ptr<Parameters<T>>>(), py::arg("graph").none(false),
           py::arg("parameters").none(false))
      .def("plan", &Bound::plan, py::arg("terms"), "The objective of (loss, output, weight) terms.")
      .def("check_inputs", &Bound::check_inputs, py::arg("x"),
           "FloatingPointError, naming the row and column, for an input that is not finite.")
      .def("loss", &Bound::loss, py::arg("objective"), py::arg("x"), py::arg("y"),
           py::arg("sample_weight") = none, "The loss; changes nothing.")
      .def(
          "train_epoch", &Bound::train_epoch, py::arg("objective"), py::arg("x"), py::arg("y"),
          py::arg("batch_size"), py::arg("optimizer"), py::arg("state"), py::arg("rows") = none,
          py::arg("sample_weight") = none, py::arg("tick") = none, py::arg("factors") = none,
          "Steps over all rows, batch_size at a time. tick(steps, mean_loss) is called between steps, about "
          "every\n"
          "50 ms, and may change the optimizer's hyperparameters. What it raises, and Ctrl-C, ends the epoch "
          "after a\n"
          "whole step. factors: runs (steps, learning rate's, weight decay's), the last one of all steps "
          "that are left.")
      .def("train_step_with", &Bound::train_step_with, py::arg("loss"), py::arg("x"), py::arg("optimizer"),
           py::arg("state"), py::arg("rows") = none, py::arg("factors") = none,
           "A step whose loss is Python: loss(outputs) returns its value and one gradient an output.");
  define_calls(type);
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
