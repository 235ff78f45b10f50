#include "calls.hpp"

#include <cstring>

namespace nncore::bindings {

std::string_view text_of(py::handle keyword) {
  py::ssize_t size = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(keyword.ptr(), &size);
  if (text == nullptr) throw py::error_already_set();
  return {text, static_cast<std::size_t>(size)};
}

bool as_flag(py::handle argument, bool fallback) {
  if (!argument) return fallback;
  const int truth = PyObject_IsTrue(argument.ptr());
  if (truth < 0) throw py::error_already_set();
  return truth == 1;
}

std::string_view as_text(py::handle argument, const char* name, const char* fallback) {
  if (!argument) return fallback;
  if (!PyUnicode_Check(argument.ptr()))
    throw py::type_error(std::string(name) + " is of type " + Py_TYPE(argument.ptr())->tp_name +
                         "; a string is needed");
  return text_of(argument);
}

void refuse_count(const char* signature, std::size_t given, std::size_t allowed) {
  throw py::type_error(std::to_string(given) + " arguments are given without names; at most " +
                       std::to_string(allowed) + " may be: " + signature);
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
  // CPython takes the signature from the beginning of the text, up to the dashes.
  const std::string text = name + "(" + self + (signature + 1) + "\n--\n\n" + doc;
  return new PyMethodDef{strdup(name.c_str()), reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(call)),
                         METH_FASTCALL | METH_KEYWORDS, strdup(text.c_str())};
}

}  // namespace nncore::bindings
