// How the threads of a region learn of its end; the rest of interrupts is in nncore/runtime.hpp.
#pragma once

#include <atomic>

namespace nncore {

/// Thrown by check_interrupt on a worker whose region has ended. The region catches it.
struct Stopped {};

/// While it lives, check_interrupt on this thread throws Stopped once `has_ended` is true.
class StopSignal {
 public:
  explicit StopSignal(const std::atomic<bool>* has_ended);
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

 private:
  const std::atomic<bool>* outer_;
};

}  // namespace nncore
