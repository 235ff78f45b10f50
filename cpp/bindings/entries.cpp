#include "entries.hpp"

#include "names.hpp"

namespace nncore::bindings {
namespace {

constexpr std::string_view kFlag = "False|True";

}  // namespace

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

double read_parameter(py::handle given, const char* name, const char* choices) {
  if (choices == nullptr) {
    const double value = PyFloat_AsDouble(given.ptr());
    if (value == -1.0 && PyErr_Occurred() != nullptr) {
      PyErr_Clear();
      throw py::type_error(std::string(name) + " must be a number; got " + described(given));
    }
    return value;
  }
  if (choices == kFlag) return as_flag(given, name) ? 1.0 : 0.0;
  const py::tuple words(choices_of(choices));
  const std::string_view word = as_text(given, name, "");
  for (std::size_t i = 0; i < words.size(); ++i)
    if (word == words[i].cast<std::string>()) return static_cast<double>(i);
  refuse_name(name, word, words);
}

py::dict describe_range(const Range& range) {
  py::dict description;
  description["low"] = range.low;
  description["high"] = range.high;
  description["text"] = range.text;
  return description;
}

std::string default_text(double initial, const char* choices) {
  if (choices == nullptr) return py::repr(py::float_(initial)).cast<std::string>();
  const std::string word = choices_of(choices)[static_cast<std::size_t>(initial)].cast<std::string>();
  return choices == kFlag ? word : "'" + word + "'";
}

}  // namespace nncore::bindings
