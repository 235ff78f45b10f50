// What a call holds while it computes: the floating-point mode, the store, and perhaps not the GIL.
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

/// Work of more floating-point operations (about 20 us) is worth giving up the GIL. A short call that does so
/// waits a whole switch interval to get it back beside a busy thread.
inline constexpr double kLongFlops = 1e6;

/// Runs `body`, which touches no Python object, under the floating-point mode that all results assume. Long
/// work lets other Python threads run, and looks at signals.
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

/// Uses a store in one of Usage's ways, for as long as it lives.
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

/// Beside other readers; RuntimeError while somebody trains.
using Reading = Using<&Usage::begin_read, &Usage::end_read>;
/// The same for a short time: writers wait for it.
using Copying = Using<&Usage::begin_copy, &Usage::end_copy>;

/// Uses a store alone; RuntimeError while anybody else uses it. Copies are waited for, without the GIL, which
/// they need.
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
