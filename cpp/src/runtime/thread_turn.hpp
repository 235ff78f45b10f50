// ThreadTurn: a round of work on the number of threads chosen for it.
#pragma once

#include <chrono>
#include <cstdint>

#include "nncore/runtime.hpp"
#include "runtime/thread_choice.hpp"

namespace nncore {

/// While it lives, a round of work of this size runs on the chosen number of threads, timed if necessary.
class ThreadTurn {
 public:
  ThreadTurn(ThreadChoice& choice, std::int64_t size)
      : choice_(choice), size_(static_cast<double>(size)), limit_(choice.next(usable_threads())) {
    if (choice_.is_timed()) start_ = Clock::now();
  }
  ~ThreadTurn() {
    using Seconds = std::chrono::duration<double>;
    choice_.record(choice_.is_timed() ? Seconds(Clock::now() - start_).count() : 0.0, size_);
  }
  ThreadTurn(const ThreadTurn&) = delete;
  ThreadTurn& operator=(const ThreadTurn&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  ThreadChoice& choice_;
  double size_;
  ThreadLimit limit_;
  Clock::time_point start_{};
};

}  // namespace nncore
