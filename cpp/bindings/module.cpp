// nncore._core: registers everything. The module does not need the GIL: free-threaded CPython runs it without
// one, and stores reject uses that exclude each other.
#include "gil.hpp"
#include "nncore/runtime.hpp"
#include "register.hpp"

// Python calls PyInit__core, below.
PYBIND11_MODULE(_core_of_main_interpreter, m, pybind11::mod_gil_not_used()) {
  nncore::bindings::wait_where_python_has_ended();  // remembers this thread
  m.doc() = "The compiled core of nncore. Use it through the package: nncore, nncore.functional.";
  m.attr("__version__") = nncore::version();
  nncore::bindings::register_runtime(m);
  nncore::bindings::register_functional(m);
  nncore::bindings::register_losses(m);
  nncore::bindings::register_parameters(m);
  nncore::bindings::register_optimizers(m);
  nncore::bindings::register_network(m);
}

/// Raises ImportError in a sub-interpreter, where pybind11 would hang.
extern "C" PYBIND11_EXPORT PyObject* PyInit__core() {
  if (PyInterpreterState_Get() == PyInterpreterState_Main()) return PyInit__core_of_main_interpreter();
  PyErr_SetString(
      PyExc_ImportError,
      "nncore must be imported in the main interpreter; got a sub-interpreter (with mod_wsgi, set "
      "WSGIApplicationGroup %{GLOBAL})");
  return nullptr;
}
