#include "calls.hpp"

#include <cstring>

namespace nncore::bindings {

std::string_view text_of(py::handle keyword) {
  py::ssize_t size = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(keyword.ptr(), &size);
  if (text == nullptr) throw py::error_already_set();
  return {text, static_cast<std::size_t>(size)};
}

bool as_flag(py::handle argument, const char* name, bool fallback) {
  if (!argument) return fallback;
  if (PyBool_Check(argument.ptr())) return argument.ptr() == Py_True;
  if (PyLong_Check(argument.ptr())) {
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(argument.ptr(), &overflow);
    if (overflow == 0 && (value == 0 || value == 1)) return value == 1;
  } else if (py::isinstance(argument, py::module_::import("numpy").attr("bool_"))) {
    return PyObject_IsTrue(argument.ptr()) == 1;
  }
  throw py::type_error(std::string(name) + " must be True or False; got " + described(argument));
}

std::int64_t as_integer(py::handle argument, const char* name, std::int64_t least, std::int64_t most) {
  if (PyIndex_Check(argument.ptr()) == 0)
    throw py::type_error(std::string(name) + " must be an integer; got " + described(argument));
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(argument.ptr()));
  if (!index) {  // such as an array of several numbers
    PyErr_Clear();
    throw py::type_error(std::string(name) + " must be an integer; got " + described(argument));
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow < 0 || (overflow == 0 && value < least))
    throw py::value_error(std::string(name) + " must be at least " + std::to_string(least) + "; got " +
                          py::str(index).cast<std::string>());
  if (overflow > 0 || value > most)
    throw py::value_error(std::string(name) + " must be at most " + std::to_string(most) + "; got " +
                          py::str(index).cast<std::string>());
  return value;
}

std::string described(py::handle given) {
  if (given.is_none()) return "None";
  if (PyUnicode_Check(given.ptr())) return py::repr(given).cast<std::string>();
  if (PyType_Check(given.ptr()))
    return std::string("the class ") + reinterpret_cast<PyTypeObject*>(given.ptr())->tp_name;
  return Py_TYPE(given.ptr())->tp_name;
}

std::string_view as_text(py::handle argument, const char* name, const char* fallback) {
  if (!argument) return fallback;
  if (!PyUnicode_Check(argument.ptr()))
    throw py::type_error(std::string(name) + " must be a string; got " + described(argument));
  py::ssize_t size = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(argument.ptr(), &size);
  if (text != nullptr) return {text, static_cast<std::size_t>(size)};
  PyErr_Clear();  // a lone surrogate
  throw py::value_error(std::string(name) + " must be text that UTF-8 can encode; got " +
                        py::module_::import("builtins").attr("ascii")(argument).cast<std::string>());
}

void refuse_count(const char* signature, std::size_t given, std::size_t allowed) {
  throw py::type_error("positional arguments must be at most " + std::to_string(allowed) + "; got " +
                       std::to_string(given) + ": " + signature);
}

void refuse_keyword(const char* signature, py::handle keyword, bool is_known) {
  throw py::type_error("argument '" + std::string(text_of(keyword)) +
                       (is_known ? "' is given twice: " : "' is unknown; allowed: ") + signature);
}

void refuse_missing(const char* signature, std::string_view name) {
  throw py::type_error("argument '" + std::string(name) + "' is missing: " + signature);
}

PyMethodDef* method_row(const std::string& name, const char* signature, const char* self,
                        const std::string& doc, FastCall call) {
  // CPython reads the signature from the start of the text, up to the dashes.
  const std::string text = name + "(" + self + (signature + 1) + "\n--\n\n" + doc;
  return new PyMethodDef{strdup(name.c_str()), reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(call)),
                         METH_FASTCALL | METH_KEYWORDS, strdup(text.c_str())};
}

}  // namespace nncore::bindings
