#include "entries.hpp"

#include <pybind11/stl.h>

#include <optional>

#include "arrays.hpp"
#include "functions/join.hpp"

namespace nncore::bindings {
namespace {

constexpr std::string_view kFlag = "False|True";

std::string listed(const py::object& words) { return py::str(", ").attr("join")(words).cast<std::string>(); }

/// The number as a double; nothing if it is not a number. ValueError for an integer too large for a double.
std::optional<double> as_number(py::handle given, const char* name) {
  const double value = PyFloat_AsDouble(given.ptr());
  if (value != -1.0 || PyErr_Occurred() == nullptr) return value;
  const bool is_too_large = PyErr_ExceptionMatches(PyExc_OverflowError) != 0;
  PyErr_Clear();
  if (is_too_large)
    throw py::value_error(join(name, " must be a number that a float holds; got a larger one"));
  return std::nullopt;
}

}  // namespace

void refuse_name(const char* argument, std::string_view given, const py::tuple& known) {
  const py::object lower = py::str(std::string(given)).attr("lower")();
  const py::list close = py::module_::import("difflib").attr("get_close_matches")(lower, known, 1);
  const std::string hint = close.empty() ? "" : join(" (did you mean '", close[0].cast<std::string>(), "'?)");
  throw py::value_error(join(argument, " must be one of ", listed(known), "; got '", given, "'", hint));
}

void refuse_parameter(const char* entry, const std::string& given, const py::list& known) {
  const std::string allowed = known.empty() ? "none" : "one of " + listed(known);
  throw py::type_error(join("a hyperparameter of ", entry, " must be ", allowed, "; got '", given, "'"));
}

py::list choices_of(const char* choices) {
  py::list words;
  std::string_view rest = choices != nullptr ? choices : "";
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('|'), rest.size());
    words.append(py::str(std::string(rest.substr(0, end))));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return words;
}

double read_number(py::handle given, const char* name, const char* choices) {
  if (choices == nullptr) {
    if (const std::optional<double> number = as_number(given, name)) return *number;
    throw py::type_error(join(name, " must be a number; got ", described(given)));
  }
  if (choices == kFlag) return as_flag(given, name) ? 1.0 : 0.0;
  const py::tuple words(choices_of(choices));
  const std::string_view word = as_text(given, name, "");
  for (std::size_t i = 0; i < words.size(); ++i)
    if (word == words[i].cast<std::string>()) return static_cast<double>(i);
  refuse_name(name, word, words);
}

Numbers read_numbers(py::handle given, const char* name, bool is_vector) {
  const auto refuse = [&](const std::string& got) {
    throw py::type_error(
        join(name, " must be a number", is_vector ? " or a sequence of numbers" : "", "; got ", got));
  };
  const auto number = [&](py::handle item) {
    const std::optional<double> value = as_number(item, name);
    if (!value) refuse(described(item));
    return *value;
  };
  const bool is_scalar = is_array(given) && py::reinterpret_borrow<py::array>(given).ndim() == 0;
  const bool is_text = PyUnicode_Check(given.ptr()) || PyBytes_Check(given.ptr());
  if (is_scalar || is_text || !PySequence_Check(given.ptr())) return {number(given), {}};
  Numbers numbers;
  for (const py::handle item : py::tuple(py::reinterpret_borrow<py::object>(given)))
    numbers.each.push_back(number(item));
  if (!is_vector || numbers.each.empty()) refuse(join(numbers.each.size(), " numbers"));
  return numbers;
}

py::object as_python(double value, const char* choices) {
  if (choices == nullptr) return py::float_(value);
  if (choices == kFlag) return py::bool_(value != 0.0);
  return choices_of(choices)[static_cast<std::size_t>(value)];
}

py::object as_python(const Numbers& numbers, const char* choices) {
  if (numbers.each.empty()) return as_python(numbers.one, choices);
  return py::tuple(py::cast(numbers.each));
}

py::dict describe_range(const Range& range) {
  py::dict description;
  description["low"] = range.low;
  description["high"] = range.high;
  description["text"] = range.text;
  return description;
}

}  // namespace nncore::bindings
