// The core's tables for Python: entries are found by name, their parameters are keyword arguments, and
// everything about them is available as data.
#pragma once

#include <string>
#include <string_view>

#include "calls.hpp"
#include "nncore/entries.hpp"
#include "nncore/losses.hpp"

namespace nncore::bindings {

/// Raises ValueError for an unknown name and suggests the nearest known one.
[[noreturn]] void refuse_name(const char* argument, std::string_view given, const py::tuple& known);

/// The entry with that name or alias. ValueError if there is none.
template <class Entry, std::size_t count>
const Entry& entry_named(const Entry (&table)[count], const char* argument, std::string_view given) {
  if (const Entry* const entry = find_entry(table, given)) return *entry;
  py::tuple names(count);
  for (std::size_t i = 0; i < count; ++i) names[i] = table[i].name;
  refuse_name(argument, given, names);
}

/// The words that a parameter may be; empty for a number.
py::list choices_of(const char* choices);

/// Reads a parameter: a number, a flag or, given `choices`, one of the words. TypeError for another type,
/// ValueError for another word.
double read_number(py::handle given, const char* name, const char* choices);
/// Reads a number or, if `is_vector`, a sequence of numbers. TypeError for anything else.
Numbers read_numbers(py::handle given, const char* name, bool is_vector);

/// The Python value of a parameter: 0.01, False, 'none', (0.5, 1.0).
py::object as_python(double value, const char* choices);
py::object as_python(const Numbers& numbers, const char* choices);

/// Reads a parameter into its field. The range is not checked.
template <class Owner>
void read_parameter(Owner& owner, const Parameter<Owner>& parameter, py::handle given) {
  owner.*parameter.field = read_number(given, parameter.name, parameter.choices);
}
template <class Owner>
void read_parameter(Owner& owner, const Parameter<Owner, Numbers>& parameter, py::handle given) {
  owner.*parameter.field = read_numbers(given, parameter.name, parameter.is_vector);
}

/// Reads the parameters of an entry that are given. `given` is in the entry's order, null for those that are
/// not.
template <class Owner, class Entry>
void read_parameters(Owner& owner, const Entry& entry, PyObject* const* given) {
  for (std::size_t i = 0; i < parameter_count(entry); ++i)
    if (given[i] != nullptr) read_parameter(owner, entry.parameters[i], given[i]);
}

/// Raises TypeError for a parameter that the entry does not have.
[[noreturn]] void refuse_parameter(const char* entry, const std::string& given, const py::list& known);

/// The parameter with that name. TypeError if there is none.
template <class Entry>
const auto& parameter_named(const Entry& entry, const std::string& name) {
  py::list names;
  for (std::size_t i = 0; i < parameter_count(entry); ++i) {
    if (name == entry.parameters[i].name) return entry.parameters[i];
    names.append(entry.parameters[i].name);
  }
  refuse_parameter(entry.name, name, names);
}

/// Makes an Activation, Loss, Optimizer or Initializer from the name of an entry and parameters by name.
/// TypeError or ValueError if they do not fit.
template <class Owner, class Entry, std::size_t count>
Owner make_owner(const Entry (&table)[count], const char* argument, std::string_view kind,
                 const py::dict& parameters) {
  const Entry& entry = entry_named(table, argument, kind);
  Owner owner(entry.kind);
  for (const auto& [name, value] : parameters)
    read_parameter(owner, parameter_named(entry, py::cast<std::string>(name)), value);
  validate(owner);
  return owner;
}

/// All parameters by name.
template <class Owner>
py::dict parameters_of(const Owner& owner) {
  const auto& entry = entry_of(owner.kind);
  py::dict values;
  for (std::size_t i = 0; i < parameter_count(entry); ++i) {
    const auto& parameter = entry.parameters[i];
    values[parameter.name] = as_python(owner.*parameter.field, parameter.choices);
  }
  return values;
}

/// ", negative_slope=0.01" for each parameter.
template <class Entry>
std::string parameters_text(const Entry& entry) {
  std::string text;
  for (std::size_t i = 0; i < parameter_count(entry); ++i) {
    const auto& parameter = entry.parameters[i];
    const py::object initial = as_python(parameter.initial, parameter.choices);
    text += std::string(", ") + parameter.name + "=" + py::repr(initial).template cast<std::string>();
  }
  return text;
}

/// The bounds and the text of a range.
py::dict describe_range(const Range& range);

/// Describes the entries of a table as dicts: name, name and docstring of the Python class, parameters, and
/// whatever add(description, entry) adds.
template <class Entry, std::size_t count, class Add>
py::list describe_entries(const Entry (&table)[count], Add add) {
  py::list descriptions;
  for (const Entry& entry : table) {
    py::list parameters;
    for (std::size_t i = 0; i < parameter_count(entry); ++i) {
      const auto& parameter = entry.parameters[i];
      py::dict description;
      description["name"] = parameter.name;
      description["default"] = parameter.initial;
      description["range"] = describe_range(parameter.range);
      description["vector"] = parameter.is_vector;
      description["meaning"] = parameter.meaning;
      description["choices"] = choices_of(parameter.choices);
      parameters.append(description);
    }
    py::dict description;
    description["name"] = entry.name;
    description["class_name"] = entry.class_name;
    description["summary"] = entry.summary;
    description["parameters"] = parameters;
    add(description, entry);
    descriptions.append(description);
  }
  return descriptions;
}

}  // namespace nncore::bindings
