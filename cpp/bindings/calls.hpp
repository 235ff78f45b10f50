// The way in for functions that Python calls in its loops. pybind11 takes 0.2 to 0.4 us to match a call with
// its function, as long as a small network needs to answer; CPython's own convention takes 0.02 to 0.05 us.
// The functions defined here use that one. All others stay with pybind11.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace nncore::bindings {

namespace py = pybind11;

/// The parameters of a function as Python writes them, "(x, bias=None, *, out=None)": help() shows the text,
/// and the compiler reads from it what a call may look like.
template <std::size_t count>
struct Signature {
  const char* text;
  std::array<std::string_view, count> names{};
  std::size_t positional = count;  ///< as many may be given without their names
  std::size_t required = 0;        ///< as many must be given

  /// Where there are fewer parameters than `count`, the last names are empty.
  constexpr explicit Signature(const char* text_) : text(text_) {
    std::string_view rest(text_);
    rest = rest.substr(1, rest.size() - 2);
    std::size_t found = 0;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find(", "), rest.size());
      const std::string_view parameter = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 2, rest.size()));
      if (parameter == "*") {
        positional = found;
        continue;
      }
      const std::size_t equals = parameter.find('=');
      names.at(found++) = parameter.substr(0, equals);
      if (equals == std::string_view::npos) required = found;
    }
    positional = std::min(positional, found);
  }
};

/// What a call gives for each parameter: borrowed; null where it gives nothing.
template <std::size_t count>
using Arguments = std::array<PyObject*, count>;

inline bool is_given(py::handle argument) { return argument && !argument.is_none(); }

/// What messages say of something that is of another kind than it must be: text itself, else its type.
std::string described(py::handle given);

/// A flag: True or False, of Python or of NumPy, or 0 or 1; `fallback` where it is not given. TypeError for
/// anything else.
bool as_flag(py::handle argument, const char* name, bool fallback = false);

/// An integer from `least` to `most`. TypeError for anything else, ValueError for one outside.
std::int64_t as_integer(py::handle argument, const char* name, std::int64_t least, std::int64_t most);

/// A string; `fallback` where it is not given. TypeError for anything else.
std::string_view as_text(py::handle argument, const char* name, const char* fallback);

// TypeErrors for calls that do not fit a signature.
[[noreturn]] void refuse_count(const char* signature, std::size_t given, std::size_t allowed);
[[noreturn]] void refuse_keyword(const char* signature, py::handle keyword, bool is_known);
[[noreturn]] void refuse_missing(const char* signature, std::string_view name);

/// The text of a keyword, valid as long as it lives.
std::string_view text_of(py::handle keyword);

template <std::size_t count>
Arguments<count> read_arguments(const Signature<count>& signature, PyObject* const* given,
                                std::size_t given_count, PyObject* keywords) {
  Arguments<count> arguments{};
  if (given_count > signature.positional) refuse_count(signature.text, given_count, signature.positional);
  std::copy_n(given, given_count, arguments.begin());
  const py::ssize_t keyword_count = keywords != nullptr ? PyTuple_GET_SIZE(keywords) : 0;
  for (py::ssize_t k = 0; k < keyword_count; ++k) {
    const py::handle keyword = PyTuple_GET_ITEM(keywords, k);
    const auto found = std::find(signature.names.begin(), signature.names.end(), text_of(keyword));
    const auto i = static_cast<std::size_t>(found - signature.names.begin());
    if (i == count || arguments[i] != nullptr) refuse_keyword(signature.text, keyword, i < count);
    arguments[i] = given[given_count + static_cast<std::size_t>(k)];
  }
  for (std::size_t i = given_count; i < signature.required; ++i)
    if (arguments[i] == nullptr) refuse_missing(signature.text, signature.names[i]);
  return arguments;
}

/// The C++ object in a Python object of a class that pybind11 made. pybind11's cast takes 30 ns to find out
/// that an object is of that very class, this one 2.
template <class Class>
Class& as_object(py::handle object, const char* name) {
  static PyTypeObject* const type = reinterpret_cast<PyTypeObject*>(py::type::of<Class>().ptr());
  if (Py_TYPE(object.ptr()) == type) {
    auto* const instance = reinterpret_cast<py::detail::instance*>(object.ptr());
    if (void* const value = instance->get_value_and_holder().value_ptr()) return *static_cast<Class*>(value);
  }
  if (py::isinstance<Class>(object)) return object.cast<Class&>();
  throw py::type_error(std::string(name) + " must be a " + type->tp_name + "; got " + described(object));
}

/// What C++ answers, or throws, as CPython wants it.
template <class Body>
PyObject* answer(Body body) {
  try {
    return body().release().ptr();
  } catch (...) {
    py::detail::try_translate_exceptions();
    return nullptr;
  }
}

using FastCall = PyObject* (*)(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* keywords);

/// A function's row in a method table, which lives as long as the process. `self`: "$self, " for methods.
PyMethodDef* method_row(const std::string& name, const char* signature, const char* self,
                        const std::string& doc, FastCall call);

/// Adds a function to a module. `body` takes Arguments and returns a Python object.
template <const auto& signature, auto body>
void define(py::module_& m, const std::string& name, const std::string& doc) {
  const auto call = [](PyObject*, PyObject* const* given, Py_ssize_t count, PyObject* keywords) {
    return answer(
        [&] { return body(read_arguments(signature, given, static_cast<std::size_t>(count), keywords)); });
  };
  PyMethodDef* const row = method_row(name, signature.text, "", doc, call);
  const py::object module_name = m.attr("__name__");
  m.add_object(row->ml_name,
               py::reinterpret_steal<py::object>(PyCFunction_NewEx(row, m.ptr(), module_name.ptr())));
}

/// Adds a method to a class. `body` is a member function that takes Arguments and returns a Python object.
template <const auto& signature, auto body, class Class, class... Options>
void define(py::class_<Class, Options...>& type, const std::string& name, const std::string& doc) {
  const auto call = [](PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* keywords) {
    return answer([&] {
      const auto arguments = read_arguments(signature, given, static_cast<std::size_t>(count), keywords);
      return (as_object<Class>(self, "self").*body)(arguments);
    });
  };
  PyMethodDef* const row = method_row(name, signature.text, "$self, ", doc, call);
  auto* const of = reinterpret_cast<PyTypeObject*>(type.ptr());
  type.attr(row->ml_name) = py::reinterpret_steal<py::object>(PyDescr_NewMethod(of, row));
}

}  // namespace nncore::bindings
