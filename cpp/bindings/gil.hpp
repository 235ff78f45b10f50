// The global interpreter lock, given up while the core computes and taken where it calls Python.
//
// A thread that asks for the lock after the interpreter has ended is a daemon thread of a program that exits.
// CPython before 3.14 unwinds its stack there: that would destroy Python objects without the lock, or meet a
// function that cannot be left so, which ends the process by SIGABRT. Here such a thread waits for the end of
// the process, as CPython itself lets it from 3.14 on.
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

/// What f, which may have to wait for the lock, returns. What unwinds a thread is no object: a sanitizer
/// takes the reference to it for one to null.
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

/// Waits for the end of the process where the interpreter has ended already: a thread that asked for the lock
/// then would look for a state that is freed. The thread that imported the module is the one that ends the
/// interpreter, and goes on.
inline void wait_where_python_has_ended() {
  static const std::thread::id importer = std::this_thread::get_id();
  if (Py_IsInitialized() == 0 && std::this_thread::get_id() != importer)
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

/// Other Python threads may run while it lives.
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

/// Python may be called while it lives, on a thread that has given up the lock.
class GilAcquire {
 public:
  GilAcquire() {
    wait_where_python_has_ended();
    or_wait_for_the_end([this] { acquire_.emplace(); });
  }

 private:
  std::optional<py::gil_scoped_acquire> acquire_;
};

/// function(arguments...), which may be any Python: it gives up the lock now and then.
template <class... Arguments>
py::object call_python(py::handle function, Arguments&&... given) {
  const py::tuple arguments = py::make_tuple(std::forward<Arguments>(given)...);
  PyObject* const answer =
      or_wait_for_the_end([&] { return PyObject_Call(function.ptr(), arguments.ptr(), nullptr); });
  if (answer == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(answer);
}

/// Runs what signals ask for, such as Ctrl-C, if this is the thread that Python does that on; returns whether
/// it is. Throws what their handlers raise.
bool handle_signals();

}  // namespace nncore::bindings
