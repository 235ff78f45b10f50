// Parallelism, all of it: parallel_for over one of three backends, chosen when the library is built.
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

/// As many grains are done before anybody need be asked whether to go on.
constexpr std::int64_t kFewGrains = 4;

/// Zero until first asked for.
std::atomic<int> thread_count{0};

thread_local int thread_limit = kMostThreads;

void check_thread_count(const std::string& what, const std::string& given, int count) {
  if (count < 1 || count > kMostThreads)
    throw std::invalid_argument(what + " must be a number from 1 to " + std::to_string(kMostThreads) +
                                "; got " + given);
}

/// The number that a text begins with, before its end, a space or a comma; 0 where there is none.
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
  // It is other libraries' variable, so that what they do not understand is their error, not ours. They skip
  // spaces.
  if (const char* text = std::getenv("OMP_NUM_THREADS"); text != nullptr) {
    while (std::isspace(static_cast<unsigned char>(*text)) != 0) ++text;
    if (const int count = leading_number(text); count >= 1) return std::min(count, kMostThreads);
  }
  return std::min(usable_processors(), kMostThreads);
}

/// One parallel_for at work. Ranges are whole multiples of a quarter of the grain, about eight for each
/// worker, and at most a grain where the call may be interrupted. Each worker has a share of them, the same
/// one in every region of a shape, since it is the one whose caches hold the data; done with that, it takes
/// what is left of the others', whom the system may have delayed.
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
    } catch (const Stopped&) {  // by the exception of another worker
    } catch (...) {
      if (!has_ended_.exchange(true)) error_ = std::current_exception();
      for (int i = 0; i < share_count_; ++i) shares_[i].next.store(shares_[i].end, std::memory_order_relaxed);
    }
  }

  /// Once all workers have finished: throws what a body has thrown.
  void end() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  static constexpr int kMaxShares = 16;

  struct alignas(kCacheLine) Share {
    std::atomic<std::int64_t> next;
    std::int64_t end;
  };

  /// ranges i / shares, without a product that could be too large.
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

// The pool. Each worker has one word that says where it stands:
//
//   idle ──post──> posted ──begin──> running ──finish──> idle
//   idle ─> sleeping             the worker has waited long enough; post wakes it
//   posted ─> idle               the caller did all the work before the worker came: nobody waits
//   running ─> awaited           the caller sleeps until the worker finishes
//
// A region lives on its caller's stack; only a worker that has begun may touch it, and the caller leaves
// after every such worker has finished. Workers are detached and their state is constant-initialised
// and never destroyed, so a process may exit while they sleep, and a forked child, in which they do
// not exist, needs only to forget them.
enum State : std::uint32_t { idle, sleeping, posted, running, awaited };

struct alignas(kCacheLine) Worker {
  std::atomic<std::uint32_t> state{idle};
};

Worker workers[kMostThreads];  // workers[0] is the caller's place and not used
Region* region;                // written by the owner of the pool while no worker is posted or running
int started = 1;               // of workers, counting the caller; the owner's
std::atomic<bool> owned{false};

/// Waiting without sleep, for a while: a sleeping thread takes about 50 us to wake on a virtual machine, so
/// that a worker which slept between the products of a step would come too late for each. Now and then way is
/// made for other threads and processes.
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

/// Returns once the worker has finished, or takes its post back if it has not begun.
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

/// Workers that can be had, at most `wanted`, counting the caller: the system may refuse threads, or memory
/// for them. The next region asks for them again.
int start_workers(int wanted) noexcept {
  try {
    for (; started < wanted; ++started) std::thread(run_worker, started).detach();
  } catch (const std::exception&) {
  }
  return std::min(started, wanted);
}

/// False where the pool is taken, by another thread or by the region that this one is part of.
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

/// In a forked child only the forking thread lives: whatever the pool was doing, it is new.
[[maybe_unused]] void forget_workers_in_child() {
  for (int index = 1; index < started; ++index) workers[index].state.store(idle, std::memory_order_relaxed);
  started = 1;
  owned.store(false, std::memory_order_relaxed);
}

#if !defined(_WIN32)
// Registered when the library is loaded: later, a fork might find the registration half done.
[[maybe_unused]] const int fork_handler = pthread_atfork(nullptr, nullptr, forget_workers_in_child);
#endif

constexpr const char* kBackend = "pool";

#elif defined(NNCORE_THREADS_OPENMP)

// An OpenMP runtime that the parent has used may hang in a forked child, so a child computes alone.
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
  check_thread_count("count, the number of threads,", std::to_string(count), count);
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
    active_instruction_set();  // chosen before threads need it: there may be none of the name that is wanted
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
