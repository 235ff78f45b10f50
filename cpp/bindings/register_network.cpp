// Networks: the Python class. bound_network.hpp implements its methods.
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

/// The methods that user loops call.
template <class T>
void define_calls(py::class_<BoundNetwork<T>>& type) {
  using Bound = BoundNetwork<T>;
  define<kPredict, &Bound::predict>(
      type, "predict",
      "Returns the outputs: an array, or a list if there are several. They are written to `out`, which must\n"
      "have contiguous rows, or are new. Several threads may predict at the same time. convert(x) returns\n"
      "arrays.");
  define<kForward, &Bound::forward>(
      type, "forward",
      "Returns copies of the outputs and keeps what backward needs. convert(x) returns arrays.");
  define<kBackward, &Bound::backward>(
      type, "backward",
      "Computes the store's gradients (or adds to them) from those of the outputs of the last forward, and\n"
      "returns those of the inputs. convert(grad_output) returns arrays.");
  define<kLossAndGradients, &Bound::loss_and_gradients>(
      type, "loss_and_gradients",
      "Returns the loss and computes the store's gradients (or adds to them).\n"
      "convert(x, y, sample_weight) returns the three.");
  define<kTrainStep, &Bound::train_step>(
      type, "train_step",
      "Makes one step (forward, loss, backward and update) and returns the loss. Plain sgd does not store\n"
      "the gradients of large weights. convert(x, y, sample_weight) returns the three.");
  define<kUpdate, &Bound::update>(type, "update", "Makes one update from the store's gradients.");
}

template <class T>
void register_class(py::module_& m, const char* name) {
  using Bound = BoundNetwork<T>;
  const py::none none;
  py::class_<Bound> type(
      m, name,
      "A graph and the store of its parameters.\n\n"
      "x: an array, or a sequence with one per graph input, 2-D, of any bool, integer or float dtype and\n"
      "any strides. y: the same, one per loss term. rows: contiguous int64 indices, or None for all rows.\n"
      "sample_weight: (B,), finite and at least 0, or a sequence with one per loss term, or None. With\n"
      "`convert`, arguments may be anything: those that are not one array that fits are passed to it, and\n"
      "the arrays that it returns are used.\n\n"
      "Before anything is written, raises TypeError if a dtype does not fit, ValueError if a shape or value\n"
      "does not fit, RuntimeError if another call uses the store in a way that excludes this one, and\n"
      "FloatingPointError if an input, a loss, a gradient or an update is not finite; that step is not "
      "made.");
  type.def(py::init<std::shared_ptr<Graph>, std::shared_ptr<Parameters<T>>>(), py::arg("graph").none(false),
           py::arg("parameters").none(false))
      .def("plan", &Bound::plan, py::arg("terms"), "Plans an objective of terms (loss, output, weight).")
      .def("check_inputs", &Bound::check_inputs, py::arg("x"),
           "Raises FloatingPointError, naming the row and column, if an input is not finite.")
      .def("loss", &Bound::loss, py::arg("objective"), py::arg("x"), py::arg("y"),
           py::arg("sample_weight") = none, "Returns the loss; changes nothing.")
      .def(
          "train_epoch", &Bound::train_epoch, py::arg("objective"), py::arg("x"), py::arg("y"),
          py::arg("batch_size"), py::arg("optimizer"), py::arg("state"), py::arg("rows") = none,
          py::arg("sample_weight") = none, py::arg("tick") = none, py::arg("factors") = none,
          "Makes steps over all rows, batch_size at a time. tick(steps, mean_loss) is called between steps,\n"
          "about every 50 ms, and may change the optimizer's hyperparameters. An exception in tick, or\n"
          "Ctrl-C, ends the epoch after a whole step. factors: runs (steps, factor of learning_rate, factor\n"
          "of weight_decay); the last run extends to the end of the epoch.")
      .def("train_step_with", &Bound::train_step_with, py::arg("loss"), py::arg("x"), py::arg("optimizer"),
           py::arg("state"), py::arg("rows") = none, py::arg("factors") = none,
           "Makes a step with a Python loss: loss(outputs) returns its value and a list of one gradient per\n"
           "output.");
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
  py::class_<PlannedObjective>(m, "Objective", "Loss terms planned by a network, for that network only.");
  py::class_<EpochResult>(m, "EpochResult", "What train_epoch did.")
      .def_readonly("mean_loss", &EpochResult::mean_loss)
      .def_readonly("steps", &EpochResult::steps);
  register_class<float>(m, "Network_float32");
  register_class<double>(m, "Network_float64");
}

}  // namespace nncore::bindings
