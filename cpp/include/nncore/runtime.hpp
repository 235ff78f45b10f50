// The runtime: instruction set, threads, interruption and floating-point mode.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace nncore {

/// The version of the library, such as "0.1.0".
const char* version();

/// The instruction sets that were built, weakest first, such as {"baseline", "avx2", "avx512"}.
std::vector<std::string> built_instruction_sets();

/// The built instruction sets that the processor and the operating system support.
std::vector<std::string> supported_instruction_sets();

/// The instruction set in use. It is chosen at first use: the one that the environment variable NNCORE_ISA
/// names, otherwise the strongest supported one. Throws std::invalid_argument if NNCORE_ISA names an unknown
/// or unsupported one.
const char* active_instruction_set();

/// Switches to another instruction set, for tests; results do not change. Must not be called while another
/// thread computes. Throws std::invalid_argument if the name is unknown or the set is not supported.
void use_instruction_set(std::string_view name);

/// The compiler that built the library.
const char* compiler();
/// The thread backend: "pool", "openmp" or "none".
const char* thread_backend();

/// The largest number of threads.
inline constexpr int kMostThreads = 1024;

/// The number of threads that a call may use. The default is the environment variable NNCORE_NUM_THREADS,
/// otherwise the first number in OMP_NUM_THREADS, otherwise the number of processors available to the process
/// (by its affinity and its cgroup's quota). Throws std::invalid_argument if NNCORE_NUM_THREADS is not a
/// number from 1 to kMostThreads.
int num_threads();
/// Sets the number of threads for calls of parallel_for() that begin later. Throws std::invalid_argument
/// unless count is from 1 to kMostThreads.
void set_num_threads(int count);

/// While it lives, calls of parallel_for() from this thread use at most `most` threads.
class ThreadLimit {
 public:
  explicit ThreadLimit(int most);
  ~ThreadLimit();
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  int saved_;
};
/// The number of threads that parallel_for() may use on this thread: num_threads(), or the limit if smaller.
int usable_threads();

/// A reference to a callable body(begin, end, worker) with worker in [0, num_threads()). The callable must
/// outlive it.
class ParallelBody {
 public:
  template <class F>
  ParallelBody(const F& f)  // NOLINT(google-explicit-constructor)
      : object_(&f), call_([](const void* object, std::int64_t begin, std::int64_t end, int worker) {
          (*static_cast<const F*>(object))(begin, end, worker);
        }) {}
  void operator()(std::int64_t begin, std::int64_t end, int worker) const {
    call_(object_, begin, end, worker);
  }

 private:
  const void* object_;
  void (*call_)(const void*, std::int64_t, std::int64_t, int);
};

/// Runs body over [0, count) in ranges, on several threads if count > grain, and returns when all is done.
///
/// The length of each range but the last is a multiple of max(1, grain / 4). Nested calls, and calls while
/// another thread uses the pool, run on the calling thread as worker 0. The first exception of a body ends
/// the region and is rethrown to the caller. `most_workers` limits the number of workers if the body has
/// memory for fewer than num_threads().
void parallel_for(std::int64_t count, std::int64_t grain, ParallelBody body,
                  int most_workers = std::numeric_limits<int>::max());

/// While it lives, long calls on this thread call ask() between pieces of their work, about every 40 ms.
///
/// ask() throws to end the call, and returns whether to be called again. A call that ends this way leaves
/// parameters, state and optimizers as they were before the call, or before the unfinished step.
class Interruptible {
 public:
  /// Keeps a reference to `ask`, which must outlive it.
  template <class F>
  explicit Interruptible(const F& ask)
      : object_(&ask), ask_([](const void* object) { return (*static_cast<const F*>(object))(); }) {
    begin();
  }
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

 private:
  friend void check_interrupt();
  friend class Uninterruptible;
  void begin();
  void ask_if_due();

  const void* object_;
  bool (*ask_)(const void*);
  std::int64_t due_ = 0;  ///< nanoseconds of the steady clock; 0 before the first check
  Interruptible* outer_ = nullptr;
};

/// While it lives, calls on this thread are not interrupted, so that what they write is complete.
class Uninterruptible {
 public:
  Uninterruptible();
  ~Uninterruptible();
  Uninterruptible(const Uninterruptible&) = delete;
  Uninterruptible& operator=(const Uninterruptible&) = delete;

 private:
  Interruptible* outer_;
};

/// Whether calls on this thread may be interrupted.
bool is_interruptible();
/// Throws if the call is to end; may be called on any thread of a parallel_for(). Loops that take more than a
/// few milliseconds call it regularly.
void check_interrupt();

/// While it lives, this thread rounds to nearest and keeps subnormals, the mode that all results assume.
class FloatingPointMode {
 public:
  FloatingPointMode();
  ~FloatingPointMode();
  FloatingPointMode(const FloatingPointMode&) = delete;
  FloatingPointMode& operator=(const FloatingPointMode&) = delete;

 private:
  std::uint64_t saved_;
};

}  // namespace nncore
