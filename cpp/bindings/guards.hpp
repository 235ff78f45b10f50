// What a call holds while it computes: the floating-point mode and the store. Long calls release the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "gil.hpp"
#include "nncore/parameters.hpp"
#include "nncore/runtime.hpp"

namespace nncore::bindings {

namespace py = pybind11;

/// Calls of more floating-point operations (about 20 us) release the GIL. A shorter call would wait a whole
/// switch interval to get it back if another thread is busy.
inline constexpr double kLongFlops = 1e6;

/// Runs `body`, which must not touch Python objects, in the floating-point mode that all results assume. Long
/// calls let other Python threads run and handle signals.
template <class Body>
auto compute(double flops, Body&& body) {
  constexpr auto kAsk = [] { return handle_signals(); };
  std::optional<GilRelease> release;
  std::optional<Interruptible> interruptible;
  if (flops > kLongFlops) {
    release.emplace();
    interruptible.emplace(kAsk);
  }
  const FloatingPointMode mode;
  return std::forward<Body>(body)();
}

/// Holds one kind of Usage of a store while it lives.
template <void (Usage::*begin)(), void (Usage::*end)()>
class Using {
 public:
  explicit Using(Usage& usage) : usage_(usage) { (usage_.*begin)(); }
  ~Using() { (usage_.*end)(); }
  Using(const Using&) = delete;
  Using& operator=(const Using&) = delete;

 private:
  Usage& usage_;
};

/// Shared use of a store. RuntimeError while another call trains it.
using Reading = Using<&Usage::begin_read, &Usage::end_read>;
/// Shared use for a short time, for which writers wait.
using Copying = Using<&Usage::begin_copy, &Usage::end_copy>;

/// Exclusive use of a store. RuntimeError while another call uses it; waits for copies, without the GIL,
/// which they need.
class Writing {
 public:
  explicit Writing(Usage& usage) : usage_(usage) {
    while (!usage_.try_begin_write()) {
      const GilRelease release;
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }
  ~Writing() { usage_.end_write(); }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;

 private:
  Usage& usage_;
};

}  // namespace nncore::bindings
