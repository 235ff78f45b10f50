// The global interpreter lock (GIL): released while the core computes, acquired when it calls Python.
//
// A thread that acquires the GIL after the interpreter has ended is a daemon thread of a program that exits.
// Before version 3.14, CPython unwinds the thread's stack there, which would destroy Python objects without
// the GIL or reach a noexcept function and end the process with SIGABRT. Here such a thread waits for the end
// of the process, as it does in CPython from 3.14 on.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#if defined(__GLIBCXX__)
#include <cxxabi.h>
#endif

namespace nncore::bindings {

namespace py = pybind11;

/// Returns f(), which may acquire the GIL. A forced unwind has no exception object, and a sanitizer would
/// report the reference to it as a null reference.
template <class F>
__attribute__((no_sanitize("undefined"))) auto or_wait_for_the_end(F&& f) {
#if defined(__GLIBCXX__)
  try {
    return std::forward<F>(f)();
  } catch (abi::__forced_unwind&) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
#else
  return std::forward<F>(f)();
#endif
}

/// If the interpreter has ended, waits for the end of the process: acquiring the GIL would read a thread
/// state that is freed. The thread that imported the module ends the interpreter, so it continues.
inline void wait_where_python_has_ended() {
  static const std::thread::id importer = std::this_thread::get_id();
  if (Py_IsInitialized() == 0 && std::this_thread::get_id() != importer)
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

/// Releases the GIL while it lives, so that other Python threads may run.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  ~GilRelease() {
    wait_where_python_has_ended();
    or_wait_for_the_end([this] { PyEval_RestoreThread(state_); });
  }
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

/// Holds the GIL while it lives, on a thread that had released it.
class GilAcquire {
 public:
  GilAcquire() {
    wait_where_python_has_ended();
    or_wait_for_the_end([this] { acquire_.emplace(); });
  }

 private:
  std::optional<py::gil_scoped_acquire> acquire_;
};

/// Returns function(arguments...), which may run any Python code and therefore release the GIL.
template <class... Arguments>
py::object call_python(py::handle function, Arguments&&... given) {
  const py::tuple arguments = py::make_tuple(std::forward<Arguments>(given)...);
  PyObject* const answer =
      or_wait_for_the_end([&] { return PyObject_Call(function.ptr(), arguments.ptr(), nullptr); });
  if (answer == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(answer);
}

/// Runs the handlers of pending signals, such as that of Ctrl-C, if this is the main thread, and returns
/// whether it is. Throws what the handlers raise.
bool handle_signals();

}  // namespace nncore::bindings
