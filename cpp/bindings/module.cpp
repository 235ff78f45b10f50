// nncore._core: a table of contents. The global interpreter lock is not needed: free-threaded CPython runs it
// without one, and stores refuse uses that exclude each other.
#include "nncore/runtime.hpp"
#include "register.hpp"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  m.doc() = "The compiled core of nncore. Use it through the package: nncore, nncore.functional.";
  m.attr("__version__") = nncore::version();
  nncore::bindings::register_runtime(m);
  nncore::bindings::register_functional(m);
  nncore::bindings::register_losses(m);
  nncore::bindings::register_parameters(m);
  nncore::bindings::register_optimizers(m);
  nncore::bindings::register_network(m);
}
