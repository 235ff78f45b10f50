// Functions that user loops call. pybind11 takes 0.2 to 0.4 us to dispatch a call, as long as a small network
// takes to answer; CPython's own calling convention takes 0.02 to 0.05 us. Functions defined here use the
// latter; all others use pybind11.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "gil.hpp"

namespace nncore::bindings {

namespace py = pybind11;

/// The parameters of a function in Python syntax, such as "(x, bias=None, *, out=None)". help() shows the
/// text, and the compiler parses it.
template <std::size_t count>
struct Signature {
  const char* text;
  std::array<std::string_view, count> names{};
  std::size_t positional = count;  ///< the number of parameters that may be positional
  std::size_t required = 0;        ///< the number of parameters that must be given

  /// With fewer parameters than `count`, the last names are empty.
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

/// The borrowed arguments of a call, one per parameter; null for those not given.
template <std::size_t count>
using Arguments = std::array<PyObject*, count>;

/// Whether an argument is given and not None.
inline bool is_given(py::handle argument) { return argument && !argument.is_none(); }

/// What messages say of an argument of the wrong type: None, the text of a string, otherwise the type.
std::string described(py::handle given);

/// Reads a flag: a bool of Python or NumPy, or 0 or 1; `fallback` if it is not given. TypeError for anything
/// else.
bool as_flag(py::handle argument, const char* name, bool fallback = false);

/// Reads an integer. TypeError for anything else, ValueError unless it is from `least` to `most`.
std::int64_t as_integer(py::handle argument, const char* name, std::int64_t least, std::int64_t most);

/// Reads a string; `fallback` if it is not given. TypeError for anything else, ValueError if UTF-8 cannot
/// encode it.
std::string_view as_text(py::handle argument, const char* name, const char* fallback);

// Raise TypeError for calls that do not fit a signature.
[[noreturn]] void refuse_count(const char* signature, std::size_t given, std::size_t allowed);
[[noreturn]] void refuse_keyword(const char* signature, py::handle keyword, bool is_known);
[[noreturn]] void refuse_missing(const char* signature, std::string_view name);

/// The text of a keyword, valid as long as the keyword lives.
std::string_view text_of(py::handle keyword);

/// Matches the arguments of a call with the parameters of a signature. TypeError if they do not fit.
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

/// The C++ object in an instance of a pybind11 class. For an instance of exactly this class this takes 2 ns;
/// pybind11's cast takes 30 ns.
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

/// Returns the result of `body` to CPython, or sets the Python error for what it throws and returns null.
template <class Body>
PyObject* answer(Body body) {
  try {
    return or_wait_for_the_end(body).release().ptr();
  } catch (...) {
    py::detail::try_translate_exceptions();
    return nullptr;
  }
}

using FastCall = PyObject* (*)(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* keywords);

/// A new method table entry, which lives as long as the process. `self` is "$self, " for methods, otherwise
/// "".
PyMethodDef* method_row(const std::string& name, const char* signature, const char* self,
                        const std::string& doc, FastCall call);

/// Adds a function to a module. `body` is a function of Arguments that returns a Python object.
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

/// Adds a method to a class. `body` is a member function of Arguments that returns a Python object.
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
