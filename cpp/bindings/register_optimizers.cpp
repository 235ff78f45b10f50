// Optimizers: their entries as data, their hyperparameters, transforms and state.
#include "nncore/optimizers.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bound_optimizer.hpp"
#include "entries.hpp"
#include "functions/join.hpp"
#include "functions/optimizers.hpp"
#include "gil.hpp"
#include "nncore/parameters.hpp"
#include "register.hpp"
#include "views.hpp"

namespace nncore::bindings {
namespace {

/// The name of the hyperparameter stored in a field; None for null.
py::object name_of(const OptimizerEntry& entry, double Optimizer::* field) {
  for (std::size_t i = 0; field != nullptr && i < parameter_count(entry); ++i)
    if (entry.parameters[i].field == field) return py::str(entry.parameters[i].name);
  return py::none();
}

void set(BoundOptimizer& optimizer, const std::string& name, const py::handle& value) {
  Optimizer changed = optimizer.settings;
  read_parameter(changed, parameter_named(entry_of(changed.kind), name), value);
  validate(changed);
  optimizer.settings = changed;
}

// Transforms -------------------------------------------------------------------------------------------

}  // namespace

/// One of the core's transforms.
struct BoundTransform {
  std::shared_ptr<const Transform> transform;
  std::string name;  ///< the function that made it
  double value;      ///< the function's argument
};

namespace {

std::string text_of(const BoundTransform& bound) {
  return bound.name + "(" + py::repr(py::float_(bound.value)).cast<std::string>() + ")";
}

/// The function that makes the transform and its argument, for pickles and deep copies.
py::tuple reduced(const BoundTransform& bound) {
  const py::object make = py::module_::import("nncore._core").attr(bound.name.c_str());
  return py::make_tuple(make, py::make_tuple(bound.value));
}

/// A Python function that changes the flat gradients in place. Like all copies of an optimizer's transforms,
/// it is released while the GIL is held.
class PythonTransform final : public Transform {
 public:
  explicit PythonTransform(py::function function) : function_(std::move(function)) {}
  void change_gradients(const TransformCall<float>& call) const override { run(call); }
  void change_gradients(const TransformCall<double>& call) const override { run(call); }

 private:
  template <class T>
  void run(const TransformCall<T>& call) const {
    const GilAcquire gil;
    const py::object owner = py::cast(call.parameters, py::return_value_policy::reference);
    const py::object answer =
        call_python(function_, flat_view(call.parameters.gradients(), call.parameters.count(), owner));
    if (!answer.is_none())
      throw py::type_error(join("a transform must change the gradients in place and return None; got ",
                                Py_TYPE(answer.ptr())->tp_name));
  }
  py::function function_;
};

void set_transforms(BoundOptimizer& optimizer, const py::sequence& given) {
  std::vector<std::shared_ptr<const Transform>> transforms;
  for (const py::handle one : given) {
    if (py::isinstance<BoundTransform>(one))
      transforms.push_back(one.cast<const BoundTransform&>().transform);
    else if (PyCallable_Check(one.ptr()) != 0 && PyType_Check(one.ptr()) == 0)
      transforms.push_back(std::make_shared<PythonTransform>(py::reinterpret_borrow<py::function>(one)));
    else
      throw py::type_error(join("transforms must be made by nncore or be functions; got ", described(one)));
  }
  optimizer.transforms = std::move(transforms);
}

/// A transform with one number as its parameter.
struct Recipe {
  const char* name;
  std::shared_ptr<const Transform> (*make)(double);
  Signature<1> signature;
};
constexpr Recipe kClipByGlobalNorm{"clip_by_global_norm", clip_by_global_norm, Signature<1>("(max_norm)")};
constexpr Recipe kClipByValue{"clip_by_value", clip_by_value, Signature<1>("(limit)")};
constexpr Recipe kMovingAverage{"moving_average", moving_average, Signature<1>("(decay)")};

template <const Recipe& recipe>
void define_transform(py::module_& m, const char* doc) {
  static constexpr const Signature<1>& signature = recipe.signature;
  constexpr auto make = [](const Arguments<1>& arguments) -> py::object {
    const double value = read_number(arguments[0], std::string(signature.names[0]).c_str(), nullptr);
    return py::cast(BoundTransform{recipe.make(value), recipe.name, value});
  };
  define<signature, make>(m, recipe.name, doc);
}

void register_transforms(py::module_& m) {
  py::class_<BoundTransform>(m, "Transform", "Changes the gradients of a step, or follows the parameters.")
      .def("__repr__", &text_of)
      .def("__reduce__", &reduced);
  define_transform<kClipByGlobalNorm>(
      m,
      "Scales the gradients of a step so that their joint Euclidean norm is at most max_norm.\n\n"
      "Raises ValueError unless max_norm is finite and greater than 0.");
  define_transform<kClipByValue>(m,
                                 "Clips each gradient to [-limit, limit].\n\n"
                                 "Raises ValueError unless limit is finite and greater than 0.");
  define_transform<kMovingAverage>(
      m,
      "Keeps a moving average of the parameters p: average = decay average + (1 - decay) p after each step.\n"
      "It starts as the parameters before the first step; `Optimizer.averaged` uses it.\n\n"
      "Raises ValueError unless decay is at least 0 and less than 1.");
}

void register_optimizer(py::module_& m) {
  py::class_<BoundOptimizer>(m, "Optimizer",
                             "The hyperparameters of an optimizer, by the names of its entry, and its\n"
                             "transforms. Raises TypeError for other names and ValueError for values out of\n"
                             "range.")
      .def(py::init([](const std::string& kind, const py::kwargs& settings) {
             return BoundOptimizer{make_owner<Optimizer>(kOptimizers, "kind", kind, settings), {}};
           }),
           py::arg("kind"))
      .def_property_readonly("kind",
                             [](const BoundOptimizer& bound) { return entry_of(bound.settings.kind).name; })
      .def_property_readonly("settings",
                             [](const BoundOptimizer& bound) { return parameters_of(bound.settings); })
      .def("set", &set, py::arg("name"), py::arg("value"), "Sets a hyperparameter for the following steps.")
      .def(
          "set_transforms", &set_transforms, py::arg("transforms"),
          "Sets the transforms: Transform objects or functions of the flat gradients, in the order in which\n"
          "they run.")
      .def_property(
          "learning_rate", [](const BoundOptimizer& bound) { return bound.settings.learning_rate; },
          [](BoundOptimizer& bound, const py::object& value) { set(bound, "learning_rate", value); });
}

template <class T>
py::dict slots(const std::shared_ptr<OptimizerState<T>>& state) {
  py::dict views;
  for (const std::string& name : state->slot_names())
    views[py::str(name)] = flat_view(state->slot(name), state->parameter_count(), borrow(state));
  return views;
}

template <class T>
void register_state(py::module_& m, const char* name) {
  using State = OptimizerState<T>;
  py::class_<State, std::shared_ptr<State>>(
      m, name, "The state of an optimizer for one store: the number of steps made, and its slots.")
      .def(py::init([](const BoundOptimizer& optimizer, const Parameters<T>& parameters) {
             return std::make_shared<State>(optimizer.settings, parameters.count());
           }),
           py::arg("optimizer"), py::arg("parameters"))
      .def(
          "prepare_slots",
          [](State& state, const BoundOptimizer& optimizer, const Parameters<T>& parameters) {
            prepare_slots(optimizer.transforms, state, parameters);
          },
          py::arg("optimizer"), py::arg("parameters"),
          "Creates the slots of the optimizer's transforms, which otherwise the next step creates.")
      .def_property(
          "steps", [](const State& state) { return state.steps; },
          [](State& state, const py::int_& given) {
            const long long steps = PyLong_AsLongLong(given.ptr());
            const bool is_larger = PyErr_Occurred() != nullptr;
            PyErr_Clear();
            if (is_larger || steps < 0 || steps >= kMostSteps)
              throw py::value_error("steps must be at least 0 and less than 2^53; got " +
                                    py::str(given).cast<std::string>());
            state.steps = steps;
          })
      .def_property_readonly("slots", &slots<T>,
                             "Writable flat views by name, with one element per parameter.");
}

}  // namespace

Factors read_factors(py::handle given) {
  if (!given || given.is_none()) return {};
  const auto [learning_rate, weight_decay] = given.cast<std::pair<double, double>>();
  const Factors factors{learning_rate, weight_decay};
  validate(factors);
  return factors;
}

std::vector<FactorRun> read_factor_runs(const py::object& given) {
  std::vector<FactorRun> runs;
  if (given.is_none()) return runs;
  for (const auto& [steps, learning_rate, weight_decay] :
       given.cast<std::vector<std::tuple<std::int64_t, double, double>>>())
    runs.push_back({steps, {learning_rate, weight_decay}});
  return runs;
}

py::list optimizer_entries() {
  return describe_entries(kOptimizers, [](py::dict& described, const OptimizerEntry& entry) {
    py::list slots;
    for (const Slot& slot : entry.slots) {
      if (slot.name == nullptr) break;
      py::dict one;
      one["name"] = slot.name;
      one["initial"] = name_of(entry, slot.initial);
      one["only_if"] = name_of(entry, slot.only_if);
      slots.append(one);
    }
    described["slots"] = slots;
    described["formula"] = entry.formula;
  });
}

void register_optimizers(py::module_& m) {
  register_transforms(m);
  register_optimizer(m);
  register_state<float>(m, "OptimizerState_float32");
  register_state<double>(m, "OptimizerState_float64");
}

}  // namespace nncore::bindings
