// Entries of the core's tables in Python: their parameters as keyword arguments, and everything about them as
// data.
#pragma once

#include <string>
#include <string_view>

#include "calls.hpp"
#include "nncore/entries.hpp"

namespace nncore::bindings {

/// The words of a parameter's choices, counted from 0; none: it is a number.
py::list choices_of(const char* choices);

/// The number that a parameter is given as: a number, a flag, or one of its words. TypeError, ValueError.
double read_parameter(py::handle given, const char* name, const char* choices);

/// A default as Python writes it: 0.01, False, 'none'.
std::string default_text(double initial, const char* choices);

/// Sets the parameters of an entry that are given, in its order; they are not checked.
template <class Owner, class Entry>
void read_parameters(Owner& owner, const Entry& entry, PyObject* const* given) {
  for (std::size_t i = 0; i < parameter_count(entry); ++i) {
    const auto& parameter = entry.parameters[i];
    if (given[i] != nullptr)
      owner.*parameter.field = read_parameter(given[i], parameter.name, parameter.choices);
  }
}

/// ", negative_slope=0.01" for each parameter.
template <class Entry>
std::string parameters_text(const Entry& entry) {
  std::string text;
  for (std::size_t i = 0; i < parameter_count(entry); ++i)
    text += std::string(", ") + entry.parameters[i].name + "=" +
            default_text(entry.parameters[i].initial, entry.parameters[i].choices);
  return text;
}

/// ". negative_slope: the slope where z is negative" for each parameter.
template <class Entry>
std::string meanings_text(const Entry& entry) {
  std::string text;
  for (std::size_t i = 0; i < parameter_count(entry); ++i)
    text += std::string(". ") + entry.parameters[i].name + ": " + entry.parameters[i].meaning;
  return text;
}

/// The numbers of a range, and its words.
py::dict describe_range(const Range& range);

/// What every entry has: its name, the name of Python's class, that class's docstring, and its parameters.
template <class Entry>
py::dict describe_entry(const Entry& entry) {
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
  return description;
}

}  // namespace nncore::bindings
