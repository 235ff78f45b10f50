// parallel_for visits every element once, from any thread and in nested calls; workers compute in the
// library's floating-point mode.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>
#include <new>
#include <stdexcept>
#include <thread>

#include "check.hpp"
#include "child.hpp"
#include "nncore/runtime.hpp"
#include "runtime/thread_choice.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

using namespace nncore;

namespace {

bool is(const char* backend) { return std::strcmp(thread_backend(), backend) == 0; }

struct ThreadCount {
  explicit ThreadCount(int count) : before(num_threads()) { set_num_threads(count); }
  ~ThreadCount() { set_num_threads(before); }
  int before;
};

/// Runs parallel_for. Returns whether the ranges cover [0, count) exactly once and are multiples of a quarter
/// of the grain, and whether worker numbers are within bounds.
bool covers(std::int64_t count, std::int64_t grain) {
  std::vector<int> visits(static_cast<std::size_t>(count));
  std::atomic<bool> fits{true};
  const int threads = num_threads();
  const std::int64_t quarter = std::max<std::int64_t>(1, grain / 4);
  parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end, int worker) {
    if (worker < 0 || worker >= threads || begin < 0 || end > count || begin >= end) fits = false;
    if (begin % quarter != 0 || (end % quarter != 0 && end != count)) fits = false;
    for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
  });
  for (const int n : visits)
    if (n != 1) return false;
  return fits;
}

/// Whether several threads computed: each of two bodies waits until the other has begun. Fails if the system
/// gives the second worker no time within the time-out.
bool two_workers_meet() {
  std::atomic<int> present{0};
  std::atomic<bool> met{false};
  parallel_for(2, 1, [&](std::int64_t, std::int64_t, int) {
    ++present;
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (present < 2 && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
    if (present == 2) met = true;
  });
  return met;
}

/// Like covers(1000, 1), but allocates no memory.
bool covers_without_memory() {
  static int visits[1000];
  std::fill(std::begin(visits), std::end(visits), 0);
  parallel_for(1000, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) ++visits[i];
  });
  return std::all_of(std::begin(visits), std::end(visits), [](int n) { return n == 1; });
}

std::atomic<bool> is_out_of_memory{false};

}  // namespace

// Not inlined: the compiler would see malloc meet delete and warn.
#define NOT_INLINED __attribute__((noinline))
NOT_INLINED void* operator new(std::size_t size) {
  if (void* memory = is_out_of_memory ? nullptr : std::malloc(size)) return memory;
  throw std::bad_alloc();
}
NOT_INLINED void operator delete(void* memory) noexcept { std::free(memory); }
NOT_INLINED void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

TEST(every_element_once) {
  for (const int threads : {1, 2, 3, 8}) {
    const ThreadCount use(threads);
    CHECK(num_threads() == threads);
    for (const std::int64_t count : {0, 1, 2, 3, 7, 64, 1000, 10007})
      for (const std::int64_t grain : {1, 2, 5, 64, 20000}) CHECK(covers(count, grain));
  }
}

TEST(odd_counts_and_grains) {
  bool called = false;
  parallel_for(0, 1, [&](std::int64_t, std::int64_t, int) { called = true; });
  parallel_for(-5, 1, [&](std::int64_t, std::int64_t, int) { called = true; });
  CHECK(!called);
  const ThreadCount use(3);
  int visits = 0;
  parallel_for(1, 0,
               [&](std::int64_t begin, std::int64_t end, int) { visits += static_cast<int>(end - begin); });
  CHECK(visits == 1);
  CHECK(covers(10, std::numeric_limits<std::int64_t>::max()));
}

TEST(one_grain_is_one_call_on_the_caller) {
  const ThreadCount use(4);
  int calls = 0;
  parallel_for(100, 100, [&](std::int64_t begin, std::int64_t end, int worker) {
    ++calls;
    CHECK(begin == 0 && end == 100 && worker == 0);
  });
  CHECK(calls == 1);
}

TEST(several_threads_take_part) {
  if (is("none")) {
    CHECK(covers(100, 1));
    return;
  }
  const ThreadCount use(2);
  CHECK(two_workers_meet());
}

TEST(many_short_regions) {
  for (const int threads : {2, 3, 8}) {
    const ThreadCount use(threads);
    std::int64_t sum = 0;
    for (int region = 0; region < 2000; ++region) {
      std::atomic<std::int64_t> part{0};
      parallel_for(threads, 1, [&](std::int64_t begin, std::int64_t end, int) { part += end - begin; });
      sum += part;
    }
    CHECK(sum == 2000 * threads);
  }
}

TEST(regions_after_workers_fell_asleep) {
  const ThreadCount use(3);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    CHECK(covers(100, 1));
  }
}

TEST(caller_sleeps_until_a_slow_worker_is_done) {
  const ThreadCount use(2);
  std::atomic<int> done{0};
  parallel_for(2, 1, [&](std::int64_t begin, std::int64_t end, int worker) {
    if (worker != 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    done += static_cast<int>(end - begin);
  });
  CHECK(done == 2);
}

TEST(nested_calls_run_on_their_caller) {
  const ThreadCount use(3);
  std::vector<int> visits(40 * 50);
  std::atomic<bool> alone{true};
  parallel_for(40, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::thread::id caller = std::this_thread::get_id();
      parallel_for(50, 1, [&](std::int64_t inner_begin, std::int64_t inner_end, int worker) {
        if (worker != 0 || std::this_thread::get_id() != caller) alone = false;
        for (std::int64_t j = inner_begin; j < inner_end; ++j) ++visits[static_cast<std::size_t>(i * 50 + j)];
      });
    }
  });
  CHECK(alone);
  for (const int n : visits) CHECK(n == 1);
}

TEST(eight_callers_at_once) {
  const ThreadCount use(3);
  std::atomic<bool> good{true};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 8; ++caller)
    callers.emplace_back([&] {
      for (int round = 0; round < 100; ++round)
        if (!covers(500, 7)) good = false;
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(good);
}

TEST(thread_count_changes_between_and_within_regions) {
  const ThreadCount use(1);
  for (const int threads : {1, 8, 2, 5, 1, 3}) {
    set_num_threads(threads);
    CHECK(covers(1000, 3));
  }
  set_num_threads(2);
  parallel_for(4, 1, [&](std::int64_t, std::int64_t, int) { set_num_threads(3); });
  CHECK(num_threads() == 3);
  CHECK(covers(1000, 3));
}

TEST(body_may_bound_its_workers) {
  const ThreadCount use(8);
  for (const int most : {-1, 0, 1, 2, 3}) {
    std::atomic<std::int64_t> sum{0};
    std::atomic<bool> within{true};
    parallel_for(
        1000, 1,
        [&](std::int64_t begin, std::int64_t end, int worker) {
          std::this_thread::sleep_for(std::chrono::microseconds(20));  // gives every worker time to come
          if (worker != 0 && worker >= most) within = false;
          sum += end - begin;
        },
        most);
    CHECK(within && sum == 1000);
  }
}

TEST(what_a_body_throws_is_its_callers) {
  for (const int threads : {1, 2, 3, 8}) {
    const ThreadCount use(threads);
    for (const std::int64_t bad : {0, 1, 57, 99}) {
      std::atomic<int> done{0};
      const auto run = [&] {
        parallel_for(100, 1, [&](std::int64_t begin, std::int64_t end, int) {
          if (begin <= bad && bad < end) throw std::domain_error("number " + std::to_string(bad));
          ++done;
        });
      };
      CHECK_THROWS(run(), std::domain_error, "number " + std::to_string(bad));
      CHECK(done < 100);
      CHECK(covers(1000, 1));
    }
    const auto all = [](std::int64_t, std::int64_t, int) { throw std::bad_alloc(); };
    for (int round = 0; round < 100; ++round)
      CHECK_THROWS(parallel_for(100, 1, all), std::bad_alloc, "alloc");
    const auto nested = [&] {
      parallel_for(8, 1, [&](std::int64_t, std::int64_t, int) { parallel_for(8, 1, all); });
    };
    CHECK_THROWS(nested(), std::bad_alloc, "alloc");
    CHECK(covers(1000, 1));
  }
}

TEST(threads_that_could_not_be_started_are_started_later) {
  if (!is("pool")) return;
  constexpr int kMany = 16;  // more than in any earlier test
  const ThreadCount use(kMany);
  for (int round = 0; round < 3; ++round) {
    is_out_of_memory = true;
    CHECK(covers_without_memory());
    is_out_of_memory = false;
  }
  CHECK(covers(1000, 1));
  CHECK(two_workers_meet());
  std::atomic<int> present{0};
  parallel_for(kMany, 1, [&](std::int64_t begin, std::int64_t end, int) {
    present += static_cast<int>(end - begin);
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (present < kMany && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
  });
  CHECK(present == kMany);
}

#if defined(__linux__)
TEST(a_set_that_does_not_exist_is_the_callers_error) {
  const std::string message = line_of_child("NNCORE_ISA=garbage NNCORE_NUM_THREADS=4", "report_a_region");
  CHECK(message.find("got \"garbage\"") != std::string::npos);
  CHECK(line_of_child("NNCORE_NUM_THREADS=4", "report_a_region") == "1000\n");
}
#endif

TEST(report_a_region) {
  try {
    std::atomic<std::int64_t> sum{0};
    parallel_for(1000, 1, [&](std::int64_t begin, std::int64_t end, int) { sum += end - begin; });
    std::printf("%d\n", static_cast<int>(sum));
  } catch (const std::invalid_argument& error) {
    std::printf("%s\n", error.what());
  }
}

#if defined(__linux__) && \
    !defined(__SANITIZE_THREAD__)  // which mistakes the threads of a child for those of its parent
TEST(fork_child_and_grandchild) {
  const ThreadCount use(3);
  CHECK(covers(1000, 1));
  for (int round = 0; round < 10; ++round) {
    const int status = status_in_child([] {
      const bool child = covers(1000, 1) && (!is("pool") || two_workers_meet());
      return child && status_in_child([] { return covers(1000, 1) && covers(77, 2); }) == 0;
    });
    CHECK(status == 0);
    CHECK(covers(1000, 1));
  }
}

TEST(fork_while_another_thread_computes) {
  const ThreadCount use(3);
  std::atomic<bool> stop{false}, good{true};
  std::thread other([&] {
    while (!stop)
      if (!covers(200, 1)) good = false;
  });
  for (int round = 0; round < 20; ++round) CHECK(status_in_child([] { return covers(1000, 1); }) == 0);
  stop = true;
  other.join();
  CHECK(good);
}
#endif

#if defined(__x86_64__)
constexpr unsigned kProgramStart = 0x1f80, kFlush = 0x8040, kTowardZero = 0x6000, kFlags = 0x3f;

TEST(mode_is_set_and_restored) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(kProgramStart | kFlush | kTowardZero);
  {
    const FloatingPointMode mode;
    CHECK((_mm_getcsr() & ~kFlags) == kProgramStart);
    volatile float subnormal = std::numeric_limits<float>::denorm_min();
    volatile float third = 1.0f / 3.0f;
    CHECK(subnormal * 2.0f > 0.0f);
    CHECK(third * 3.0f == 1.0f);
  }
  CHECK((_mm_getcsr() & ~kFlags) == (kProgramStart | kFlush | kTowardZero));
  _mm_setcsr(before);
}

TEST(workers_keep_the_mode_whoever_started_them) {
  const unsigned before = _mm_getcsr();
  const ThreadCount use(12);  // more than in any earlier test: some workers start here
  _mm_setcsr(kProgramStart | kFlush);
  std::atomic<bool> right{true};
  parallel_for(1000, 1, [&](std::int64_t, std::int64_t, int worker) {
    std::this_thread::sleep_for(std::chrono::microseconds(50));
    if (worker != 0 && (_mm_getcsr() & ~kFlags) != kProgramStart) right = false;
  });
  _mm_setcsr(before);
  CHECK(right);
}
#endif

TEST(a_limit_holds_for_its_thread_as_long_as_it_lives) {
  const ThreadCount count(4);
  const auto workers_seen = [] {
    std::atomic<int> most{0};
    parallel_for(64, 1, [&](std::int64_t, std::int64_t, int worker) {
      for (int seen = most; worker > seen && !most.compare_exchange_weak(seen, worker);) continue;
    });
    return most + 1;
  };
  CHECK(usable_threads() == 4);
  {
    const ThreadLimit two(2);
    CHECK(usable_threads() == 2 && num_threads() == 4 && workers_seen() <= 2);
    std::thread([&] { CHECK(usable_threads() == 4); }).join();
    {
      const ThreadLimit one(1);
      CHECK(usable_threads() == 1 && workers_seen() == 1);
    }
    CHECK(usable_threads() == 2);
    const ThreadLimit many(1000);
    CHECK(usable_threads() == 2);
  }
  CHECK(usable_threads() == 4);
}

namespace {

/// Rounds whose time depends on the number of threads; microseconds(threads) gives the time.
struct Rounds {
  ThreadChoice choice;
  int most;
  double (*microseconds)(int threads);
  double size = 1.0;

  /// Runs `count` rounds and returns the number of threads that most of them used. Adds the seconds that they
  /// took to `took`.
  int run(int count, double* took = nullptr) {
    std::vector<int> rounds(static_cast<std::size_t>(most + 1));
    for (int i = 0; i < count; ++i) {
      const int threads = choice.next(most);
      CHECK(threads >= 1 && threads <= most);
      const double seconds = size * microseconds(threads) * 1e-6;
      choice.record(choice.is_timed() ? seconds : 0.0, size);
      if (took != nullptr) *took += seconds;
      ++rounds[static_cast<std::size_t>(threads)];
    }
    return static_cast<int>(std::max_element(rounds.begin(), rounds.end()) - rounds.begin());
  }
};

}  // namespace

TEST(threads_that_help_are_kept_at_little_cost) {
  for (const int most : {2, 3, 16}) {
    Rounds rounds{{}, most, [](int threads) { return 300.0 / threads; }};
    double took = 0.0;
    CHECK(rounds.run(2000, &took) == most);
    CHECK(took < 1.02 * 2000 * 300e-6 / most);
    CHECK(rounds.run(100) == most);
  }
}

TEST(threads_that_hinder_are_given_up_and_taken_back) {
  Rounds rounds{{}, 2, [](int threads) { return threads == 1 ? 260.0 : 410.0; }};
  rounds.run(200);
  CHECK(rounds.run(1000) == 1);
  rounds.microseconds = [](int threads) { return threads == 1 ? 260.0 : 180.0; };
  rounds.run(600);
  CHECK(rounds.run(1000) == 2);
  rounds.microseconds = [](int threads) { return threads == 1 ? 260.0 : 250.0; };  // not worth a change
  CHECK(rounds.run(2000) == 2);
}

TEST(the_best_number_of_threads_is_found_by_halves) {
  Rounds rounds{{}, 12, [](int threads) { return 300.0 / threads + 20.0 * threads; }};  // tries 12, 6, 3
  rounds.run(700);
  CHECK(rounds.run(1000) == 3);
  rounds.most = 4;  // starts over
  CHECK(rounds.choice.next(4) == 4);
  rounds.run(600);
  CHECK(rounds.run(1000) == 4);
}

TEST(smaller_rounds_do_not_pass_for_faster_ones) {
  Rounds rounds{{}, 2, [](int threads) { return 300.0 / threads; }};
  for (int epoch = 0; epoch < 400; ++epoch) {  // the last batch of each epoch is small
    rounds.size = 1.0;
    CHECK(rounds.run(6) >= 1);
    rounds.size = 0.3;
    rounds.run(1);
  }
  rounds.size = 1.0;
  CHECK(rounds.run(100) == 2);
}

TEST(what_was_found_in_short_rounds_does_not_hold_for_long_ones) {
  Rounds rounds{{}, 2, [](int threads) { return threads == 1 ? 260.0 : 410.0; }};
  rounds.run(200);
  CHECK(rounds.run(1000) == 1);
  rounds.size = 40.0;
  rounds.run(600);
  CHECK(rounds.run(1000) == 2);
}

TEST(long_rounds_and_single_threads_are_not_tried) {
  Rounds slow{{}, 8, [](int) { return 2500.0; }};
  for (int i = 0; i < 2000; ++i) CHECK(slow.run(1) == 8);
  Rounds alone{{}, 1, [](int) { return 100.0; }};
  for (int i = 0; i < 2000; ++i) CHECK(alone.run(1) == 1);
}
