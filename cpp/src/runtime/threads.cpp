// All parallelism: parallel_for over one of three backends, chosen when the library is built.
//
//   NNCORE_THREADS_POOL    threads of our own (below)
//   NNCORE_THREADS_OPENMP  the host program's OpenMP
//   NNCORE_THREADS_NONE    the calling thread
#include <algorithm>
#include <atomic>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include "nncore/runtime.hpp"
#include "runtime/interrupts.hpp"
#include "runtime/processors.hpp"

#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(NNCORE_THREADS_OPENMP)
#include <omp.h>
#endif

#if defined(NNCORE_THREADS_POOL) + defined(NNCORE_THREADS_OPENMP) + defined(NNCORE_THREADS_NONE) != 1
#error "define exactly one of NNCORE_THREADS_POOL, NNCORE_THREADS_OPENMP, NNCORE_THREADS_NONE"
#endif

namespace nncore {
namespace {

constexpr std::size_t kCacheLine = 64;

/// Up to this many grains run on one thread without an interrupt check.
constexpr std::int64_t kFewGrains = 4;

/// Zero until first requested.
std::atomic<int> thread_count{0};

thread_local int thread_limit = kMostThreads;

void check_thread_count(const std::string& what, const std::string& given, int count) {
  if (count < 1 || count > kMostThreads)
    throw std::invalid_argument(what + " must be a number from 1 to " + std::to_string(kMostThreads) +
                                "; got " + given);
}

/// The number at the start of a text, followed by its end, a space or a comma; 0 if there is none.
int leading_number(const char* text) {
  const char* const end = text + std::strlen(text);
  int count = 0;
  const auto [stop, error] = std::from_chars(text, end, count);
  return error == std::errc{} && (stop == end || *stop == ',' || *stop == ' ') ? count : 0;
}

int initial_num_threads() {
  if (const char* text = std::getenv("NNCORE_NUM_THREADS"); text != nullptr && *text != '\0') {
    const int count = std::strpbrk(text, ", ") == nullptr ? leading_number(text) : 0;
    check_thread_count("environment variable NNCORE_NUM_THREADS", '"' + std::string(text) + '"', count);
    return count;
  }
  // The variable belongs to other libraries, so they, not we, report values that they do not understand. They
  // skip spaces.
  if (const char* text = std::getenv("OMP_NUM_THREADS"); text != nullptr) {
    while (std::isspace(static_cast<unsigned char>(*text)) != 0) ++text;
    if (const int count = leading_number(text); count >= 1) return std::min(count, kMostThreads);
  }
  return std::min(usable_processors(), kMostThreads);
}

/// One running parallel_for. Ranges are whole multiples of a quarter of the grain, about eight per worker,
/// and at most a grain if the call may be interrupted. Each worker has a share of the ranges, the same in
/// every region of a shape, because its caches hold that data. When it is done, it takes ranges left in the
/// shares of other workers, which the system may have delayed.
class Region {
 public:
  Region(const ParallelBody& body, std::int64_t count, std::int64_t grain, int workers)
      : body_(body),
        count_(count),
        share_count_(std::min(workers, kMaxShares)),
        is_interruptible_(is_interruptible()) {
    constexpr std::int64_t kRangesPerWorker = 8, kQuarters = 4;
    const std::int64_t quarter = std::max<std::int64_t>(1, grain / kQuarters);
    const std::int64_t quarters = (count - 1) / quarter + 1;
    const std::int64_t most = is_interruptible_ ? std::min(kQuarters, grain) : quarters;
    range_ = quarter * std::clamp<std::int64_t>(quarters / (kRangesPerWorker * workers), 1, most);
    const std::int64_t ranges = (count - 1) / range_ + 1;
    for (int i = 0; i < share_count_; ++i) {
      shares_[i].next.store(first_range(ranges, i), std::memory_order_relaxed);
      shares_[i].end = first_range(ranges, i + 1);
    }
  }

  void work(int worker) noexcept {
    const StopSignal signal(worker == 0 ? nullptr : &has_ended_);
    try {
      run_ranges(worker);
    } catch (const Stopped&) {  // another worker has thrown
    } catch (...) {
      if (!has_ended_.exchange(true)) error_ = std::current_exception();
      for (int i = 0; i < share_count_; ++i) shares_[i].next.store(shares_[i].end, std::memory_order_relaxed);
    }
  }

  /// To be called when all workers have finished. Rethrows the first exception of a body.
  void end() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  static constexpr int kMaxShares = 16;

  struct alignas(kCacheLine) Share {
    std::atomic<std::int64_t> next;
    std::int64_t end;
  };

  /// ranges i / shares, without a product that could overflow.
  std::int64_t first_range(std::int64_t ranges, int i) const {
    return ranges / share_count_ * i + ranges % share_count_ * i / share_count_;
  }

  void run_ranges(int worker) {
    for (int i = 0; i < share_count_; ++i) {
      Share& share = shares_[(worker + i) % share_count_];
      for (;;) {
        const std::int64_t range = share.next.fetch_add(1, std::memory_order_relaxed);
        if (range >= share.end) break;
        body_(range * range_, range_ < count_ - range * range_ ? (range + 1) * range_ : count_, worker);
        if (is_interruptible_ && worker == 0) check_interrupt();
      }
    }
  }

  const ParallelBody& body_;
  std::int64_t count_, range_;
  int share_count_;
  bool is_interruptible_;
  std::atomic<bool> has_ended_{false};  ///< by an exception
  std::exception_ptr error_;
  Share shares_[kMaxShares];
};

#if defined(NNCORE_THREADS_POOL)

// The pool. Each worker has one word that holds its state:
//
//   idle ──post──> posted ──begin──> running ──finish──> idle
//   idle ─> sleeping             the worker has waited long enough; post wakes it
//   posted ─> idle               the caller has done all the work before the worker began, and does not wait
//   running ─> awaited           the caller sleeps until the worker finishes
//
// A region lives on its caller's stack. Only a worker that has begun may touch it, and the caller leaves only
// when every such worker has finished. Workers are detached, and their state is constant-initialized and
// never destroyed, so a process may exit while they sleep. A forked child, in which they do not exist, only
// needs to forget them.
enum State : std::uint32_t { idle, sleeping, posted, running, awaited };

struct alignas(kCacheLine) Worker {
  std::atomic<std::uint32_t> state{idle};
};

Worker workers[kMostThreads];  // workers[0] stands for the caller and is not used
Region* region;                // written by the owner of the pool while no worker is posted or running
int started = 1;               // number of workers, counting the caller; only the owner uses it
std::atomic<bool> owned{false};

/// Waits without sleeping, for a while: a worker that slept between the products of a step would wake too
/// late for each of them; see "Tuning measurements" in docs/performance.md. Yields to other threads and
/// processes now and then.
class Spin {
 public:
  /// False once it is time to sleep.
  bool wait() {
    if (++count_ % kPausesPerYield != 0) {
      pause();
      return true;
    }
    std::this_thread::yield();
    const Clock::time_point now = Clock::now();
    if (end_ == Clock::time_point{}) end_ = now + kLongest;
    return now < end_;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::microseconds kLongest{200};
  static constexpr int kPausesPerYield = 100;

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
  }

  int count_ = 0;
  Clock::time_point end_{};
};

bool begin(Worker& self) {
  std::uint32_t expected = posted;
  return self.state.load(std::memory_order_relaxed) == posted &&
         self.state.compare_exchange_strong(expected, running, std::memory_order_acquire);
}

void await_post(Worker& self) {
  for (;;) {
    Spin spin;
    do {
      if (begin(self)) return;
    } while (spin.wait());
    std::uint32_t expected = idle;
    if (self.state.compare_exchange_strong(expected, sleeping, std::memory_order_relaxed))
      self.state.wait(sleeping, std::memory_order_relaxed);
  }
}

void run_worker(int index) {
  const FloatingPointMode mode;
  Worker& self = workers[index];
  for (;;) {
    await_post(self);
    region->work(index);
    if (self.state.exchange(idle, std::memory_order_acq_rel) == awaited) self.state.notify_one();
  }
}

void post(Worker& worker) {
  if (worker.state.exchange(posted, std::memory_order_acq_rel) == sleeping) worker.state.notify_one();
}

/// Waits until the worker has finished, or takes its post back if it has not begun.
void retire(Worker& worker) {
  std::uint32_t seen = posted;
  if (worker.state.compare_exchange_strong(seen, idle, std::memory_order_acquire)) return;
  Spin spin;
  do {
    if (worker.state.load(std::memory_order_acquire) != running) return;
  } while (spin.wait());
  seen = running;
  if (worker.state.compare_exchange_strong(seen, awaited, std::memory_order_acquire))
    worker.state.wait(awaited, std::memory_order_acquire);
}

/// Starts workers, and returns the number available, at most `wanted`, counting the caller. The system may
/// refuse threads, or memory for them; the next region tries again.
int start_workers(int wanted) noexcept {
  try {
    for (; started < wanted; ++started) std::thread(run_worker, started).detach();
  } catch (const std::exception&) {
  }
  return std::min(started, wanted);
}

/// Returns false if the pool is in use, by another thread or by an enclosing region.
bool run_on_workers(Region& work, int wanted) noexcept {
  if (owned.load(std::memory_order_relaxed) || owned.exchange(true, std::memory_order_acquire)) return false;
  region = &work;
  const int used = start_workers(wanted);
  for (int index = 1; index < used; ++index) post(workers[index]);
  work.work(0);
  for (int index = 1; index < used; ++index) retire(workers[index]);
  owned.store(false, std::memory_order_release);
  return true;
}

/// In a forked child only the forking thread exists, so the pool starts anew, whatever it was doing.
[[maybe_unused]] void forget_workers_in_child() {
  for (int index = 1; index < started; ++index) workers[index].state.store(idle, std::memory_order_relaxed);
  started = 1;
  owned.store(false, std::memory_order_relaxed);
}

#if !defined(_WIN32)
// Registered when the library is loaded, because a fork could happen in the middle of a later registration.
[[maybe_unused]] const int fork_handler = pthread_atfork(nullptr, nullptr, forget_workers_in_child);
#endif

constexpr const char* kBackend = "pool";

#elif defined(NNCORE_THREADS_OPENMP)

// An OpenMP runtime that the parent has used may hang in a forked child, so a child uses one thread.
std::atomic<bool> forked{false};

#if !defined(_WIN32)
[[maybe_unused]] const int fork_handler =
    pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });
#endif

bool run_on_workers(Region& work, int wanted) {
  if (omp_in_parallel() || forked.load(std::memory_order_relaxed)) return false;
#pragma omp parallel num_threads(wanted)
  {
    const FloatingPointMode mode;
    work.work(omp_get_thread_num());
  }
  return true;
}

constexpr const char* kBackend = "openmp";

#else

bool run_on_workers(Region&, int) { return false; }

constexpr const char* kBackend = "none";

#endif

}  // namespace

const char* thread_backend() { return kBackend; }

int num_threads() {
  int count = thread_count.load(std::memory_order_relaxed);
  if (count != 0) return count;
  const int initial = initial_num_threads();
  return thread_count.compare_exchange_strong(count, initial, std::memory_order_relaxed) ? initial : count;
}

void set_num_threads(int count) {
  check_thread_count("count", std::to_string(count), count);
  thread_count.store(count, std::memory_order_relaxed);
}

ThreadLimit::ThreadLimit(int most) : saved_(thread_limit) {
  thread_limit = std::min(saved_, std::max(most, 1));
}

ThreadLimit::~ThreadLimit() { thread_limit = saved_; }

int usable_threads() { return std::min(num_threads(), thread_limit); }

void parallel_for(std::int64_t count, std::int64_t grain, ParallelBody body, int most_workers) {
  if (count <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t grains = (count - 1) / grain + 1;
  const std::int64_t most = std::min<std::int64_t>(grains, most_workers);
  const int wanted = most > 1 ? static_cast<int>(std::min<std::int64_t>(usable_threads(), most)) : 1;
  if (wanted > 1) {
    active_instruction_set();  // before threads need it: throws if NNCORE_ISA is invalid
    Region region(body, count, grain, wanted);
    if (run_on_workers(region, wanted)) return region.end();
  }
  if (grains <= kFewGrains || !is_interruptible()) return body(0, count, 0);
  for (std::int64_t first = 0; first < count;) {
    const std::int64_t size = std::min(grain, count - first);
    body(first, first + size, 0);
    first += size;
    check_interrupt();
  }
}

}  // namespace nncore
