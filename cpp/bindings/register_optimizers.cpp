// Optimizers: their entries as data, their hyperparameters, and what they remember of a store.
#include "nncore/optimizers.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <string>

#include "entries.hpp"
#include "names.hpp"
#include "nncore/parameters.hpp"
#include "register.hpp"
#include "views.hpp"

namespace nncore::bindings {
namespace {

using Hyperparameter = Parameter<Optimizer>;

/// TypeError for a name that the optimizer has not.
const Hyperparameter& find_hyperparameter(OptimizerKind kind, const std::string& name) {
  const OptimizerEntry& entry = entry_of(kind);
  py::list names;
  for (std::size_t i = 0; i < parameter_count(entry); ++i) {
    if (name == entry.parameters[i].name) return entry.parameters[i];
    names.append(entry.parameters[i].name);
  }
  throw py::type_error(std::string("a hyperparameter of ") + entry.name + " must be one of " +
                       py::str(", ").attr("join")(names).cast<std::string>() + "; got '" + name + "'");
}

/// The name of the hyperparameter that is kept in a field; None for null.
py::object name_of(const OptimizerEntry& entry, double Optimizer::* field) {
  for (std::size_t i = 0; field != nullptr && i < parameter_count(entry); ++i)
    if (entry.parameters[i].field == field) return py::str(entry.parameters[i].name);
  return py::none();
}

void set(Optimizer& optimizer, const std::string& name, const py::handle& value) {
  Optimizer changed = optimizer;
  const Hyperparameter& parameter = find_hyperparameter(optimizer.kind, name);
  changed.*parameter.field = read_parameter(value, parameter.name, parameter.choices);
  validate(changed);
  optimizer = changed;
}

Optimizer make_optimizer(const std::string& kind, const py::kwargs& settings) {
  Optimizer optimizer(entry_named(kOptimizers, "kind", kind).kind);
  for (const auto& [key, value] : settings) {
    const Hyperparameter& parameter = find_hyperparameter(optimizer.kind, key.cast<std::string>());
    optimizer.*parameter.field = read_parameter(value, parameter.name, parameter.choices);
  }
  validate(optimizer);
  return optimizer;
}

py::dict settings_of(const Optimizer& optimizer) {
  const OptimizerEntry& entry = entry_of(optimizer.kind);
  py::dict settings;
  for (std::size_t i = 0; i < parameter_count(entry); ++i) {
    const Hyperparameter& parameter = entry.parameters[i];
    const double value = optimizer.*parameter.field;
    settings[parameter.name] =
        parameter.choices != nullptr ? py::object(py::bool_(value != 0.0)) : py::object(py::float_(value));
  }
  return settings;
}

void register_optimizer(py::module_& m) {
  py::class_<Optimizer>(
      m, "Optimizer",
      "The hyperparameters of an optimizer, by the names of its entry. TypeError for others; "
      "ValueError for values out of range.")
      .def(py::init(&make_optimizer), py::arg("kind"))
      .def_property_readonly("kind", [](const Optimizer& optimizer) { return entry_of(optimizer.kind).name; })
      .def_property_readonly("settings", &settings_of)
      .def("set", &set, py::arg("name"), py::arg("value"),
           "Sets one hyperparameter, for the steps that follow.")
      .def_property(
          "learning_rate", [](const Optimizer& optimizer) { return optimizer.learning_rate; },
          [](Optimizer& optimizer, const py::object& value) { set(optimizer, "learning_rate", value); });
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
      m, name, "What an optimizer remembers of a store: the steps made, and its slots.")
      .def(py::init([](const Optimizer& optimizer, const Parameters<T>& parameters) {
             return std::make_shared<State>(optimizer, parameters.count());
           }),
           py::arg("optimizer"), py::arg("parameters"))
      .def_property(
          "steps", [](const State& state) { return state.steps; },
          [](State& state, std::int64_t steps) {
            if (steps < 0) throw py::value_error("steps must be at least 0; got " + std::to_string(steps));
            state.steps = steps;
          })
      .def_property_readonly("slots", &slots<T>, "Writable flat views by name, as long as the parameters.");
}

}  // namespace

py::list optimizer_entries() {
  py::list entries;
  for (const OptimizerEntry& entry : kOptimizers) {
    py::dict description = describe_entry(entry);
    py::list slots;
    for (const Slot& slot : entry.slots) {
      if (slot.name == nullptr) break;
      py::dict one;
      one["name"] = slot.name;
      one["initial"] = name_of(entry, slot.initial);
      one["only_if"] = name_of(entry, slot.only_if);
      slots.append(one);
    }
    description["slots"] = slots;
    description["formula"] = entry.formula;
    entries.append(description);
  }
  return entries;
}

void register_optimizers(py::module_& m) {
  register_optimizer(m);
  register_state<float>(m, "OptimizerState_float32");
  register_state<double>(m, "OptimizerState_float64");
}

}  // namespace nncore::bindings
