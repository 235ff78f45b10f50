#include "gil.hpp"

namespace nncore::bindings {

bool handle_signals() {
  const GilAcquire gil;
  const py::object main_thread = py::module_::import("threading").attr("main_thread")().attr("ident");
  if (!main_thread.equal(py::int_(PyThread_get_thread_ident()))) return false;
  const int answer = or_wait_for_the_end([] { return PyErr_CheckSignals(); });
  if (answer != 0) throw py::error_already_set();
  return true;
}

}  // namespace nncore::bindings
