// What the library runs on: instruction set, threads, floating-point mode.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace nncore {

/// "0.1.0"
const char* version();

/// Instruction sets this library was built with, weakest first, e.g. {"baseline", "avx2", "avx512"}.
std::vector<std::string> built_instruction_sets();

/// Those of them that this processor (and operating system) can run.
std::vector<std::string> supported_instruction_sets();

/// The one in use: chosen at first use, the strongest supported, or what NNCORE_ISA names.
/// Throws std::invalid_argument where NNCORE_ISA names none, or one that cannot run here.
const char* active_instruction_set();

/// Switches to another; results do not change. Not while another thread computes: it is for tests.
/// Throws std::invalid_argument as above.
void use_instruction_set(std::string_view name);

/// The compiler that built the library, and its thread backend: "pool", "openmp" or "none".
const char* compiler();
const char* thread_backend();

inline constexpr int kMostThreads = 1024;

/// Threads a call may use: what the environment variable NNCORE_NUM_THREADS says, else the first number of
/// OMP_NUM_THREADS, else the processors that this process may use (its affinity, and the quota of its
/// cgroup).
int num_threads();
/// For parallel_for calls that begin later: made from within a body, it changes nothing for the running one.
/// Throws std::invalid_argument for count < 1 or > kMostThreads.
void set_num_threads(int count);

/// For as long as it lives, calls of parallel_for by this thread get at most so many threads.
class ThreadLimit {
 public:
  explicit ThreadLimit(int most);
  ~ThreadLimit();
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  int saved_;
};
/// What parallel_for goes by on this thread: num_threads(), or its limit.
int usable_threads();

/// A borrowed callable: body(begin, end, worker), worker in [0, num_threads()).
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

/// Runs body over [0, count) on several threads if count > grain, in ranges that are multiples of a quarter
/// of the grain, rounded down, or of 1 (the last may be shorter); and returns when all is done. A call from
/// within a body that several threads share, or while another thread has the pool, runs on its caller as
/// worker 0. The first exception that a body throws ends the region, and is the caller's. A body whose memory
/// was laid out for fewer workers than there may be now says so in `most_workers`.
void parallel_for(std::int64_t count, std::int64_t grain, ParallelBody body,
                  int most_workers = std::numeric_limits<int>::max());

/// For as long as it lives, long calls on this thread ask between pieces of their work, about every 40 ms,
/// whether to go on: ask() throws what ends the call, and returns whether to ask again. A call that ends so
/// leaves parameters, state and optimizers as they were before it, or before the step that it was making.
class Interruptible {
 public:
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
  std::int64_t due_ = 0;  ///< nanoseconds of the steady clock; 0: nobody has come by
  Interruptible* outer_ = nullptr;
};

/// Nobody is asked for as long as it lives: what is written meanwhile is written whole.
class Uninterruptible {
 public:
  Uninterruptible();
  ~Uninterruptible();
  Uninterruptible(const Uninterruptible&) = delete;
  Uninterruptible& operator=(const Uninterruptible&) = delete;

 private:
  Interruptible* outer_;
};

/// Whether calls on this thread may end early.
bool is_interruptible();
/// A place where they may, on whichever thread of a parallel_for. Loops that take longer than some
/// milliseconds come by.
void check_interrupt();

/// Round to nearest and subnormals on, for as long as it lives: the mode that all results assume.
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
