// Interrupted calls: when the callback is asked, and what the calls leave behind.
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <random>
#include <thread>

#include "check.hpp"
#include "nncore/network.hpp"
#include "nncore/operation.hpp"
#include "nncore/runtime.hpp"
#include "nodes.hpp"

using namespace nncore;

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

struct Interrupted : std::exception {
  const char* what() const noexcept override { return "interrupted"; }
};

struct ThreadCount {
  explicit ThreadCount(int count) : before(num_threads()) { set_num_threads(count); }
  ~ThreadCount() { set_num_threads(before); }
  int before;
};

/// How long run() takes to end once the callback says so, which it does after `delay`. Negative if run()
/// ended by itself.
template <class Run>
std::chrono::duration<double> time_to_end(Clock::duration delay, Run run) {
  const Clock::time_point due = Clock::now() + delay;
  const auto ask = [&] {
    if (Clock::now() >= due) throw Interrupted();
    return true;
  };
  const Interruptible interruptible(ask);
  try {
    run();
  } catch (const Interrupted&) {
    return Clock::now() - due;
  }
  return -1s;
}

void work(Clock::duration time) {
  for (const Clock::time_point end = Clock::now() + time; Clock::now() < end;) continue;
}

#ifdef __SANITIZE_ADDRESS__
constexpr auto kSoon = 5s;
#else
constexpr auto kSoon = 200ms;  ///< 100 ms, and as much again for a busy machine
#endif

}  // namespace

TEST(a_region_ends_early_on_any_number_of_threads) {
  for (const int threads : {1, 2, 3, 8}) {
    const ThreadCount use(threads);
    std::atomic<int> done{0};
    const auto waited = time_to_end(20ms, [&] {
      parallel_for(10'000, 1, [&](std::int64_t, std::int64_t, int) {
        work(2ms);
        ++done;
      });
    });
    CHECK(waited >= 0s && waited < kSoon);
    CHECK(done < 10'000);
    std::atomic<std::int64_t> sum{0};  // the pool is free again
    parallel_for(1000, 1, [&](std::int64_t begin, std::int64_t end, int) { sum += end - begin; });
    CHECK(sum == 1000);
  }
}

TEST(long_ranges_end_where_they_come_by) {
  for (const int threads : {1, 2, 3}) {
    const ThreadCount use(threads);
    const auto waited = time_to_end(20ms, [&] {
      parallel_for(threads, 1, [&](std::int64_t, std::int64_t, int) {
        for (int i = 0; i < 10'000; ++i) {
          work(1ms);
          check_interrupt();
        }
      });
    });
    CHECK(waited >= 0s && waited < kSoon);
  }
}

TEST(nobody_is_asked_who_need_not_be) {
  const ThreadCount use(2);
  int asked = 0;
  const auto count = [&] {
    ++asked;
    return false;  // do not ask again
  };
  const auto long_loop = [] {
    for (int i = 0; i < 100; ++i) {
      work(1ms);
      check_interrupt();
    }
  };
  long_loop();
  CHECK(!is_interruptible());
  {
    const Interruptible interruptible(count);
    CHECK(is_interruptible());
    {
      const Uninterruptible writing;
      CHECK(!is_interruptible());
      long_loop();
      CHECK(asked == 0);
    }
    std::thread(long_loop).join();  // a call on another thread is a separate call
    CHECK(asked == 0);
    long_loop();
    CHECK(asked == 1);
    {
      const Interruptible inner(count);
      long_loop();
      CHECK(asked == 2);
    }
    long_loop();
    CHECK(asked == 2);
  }
  long_loop();
  CHECK(asked == 2);
}

TEST(who_is_asked_may_call_the_library) {
  const ThreadCount use(3);
  int asked = 0;
  const auto ask = [&] {
    std::atomic<std::int64_t> sum{0};
    parallel_for(5000, 1, [&](std::int64_t begin, std::int64_t end, int) { sum += end - begin; });
    CHECK(sum == 5000);
    ++asked;
    return true;
  };
  const Interruptible interruptible(ask);
  parallel_for(300, 1, [](std::int64_t, std::int64_t, int) { work(1ms); });
  CHECK(asked >= 1);
}

namespace {

/// The identity, so slow forward or backward that the call is interrupted in it.
class SlowOperation final : public OperationOf<SlowOperation> {
 public:
  SlowOperation(bool forward, const bool* is_on) : forward_(forward), is_on_(is_on) {}
  const char* kind() const override { return "slow"; }
  std::int64_t out_features(std::span<const std::int64_t> features) const override { return features[0]; }
  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    if (forward_) dawdle();
    std::copy_n(call.inputs[0].data, call.output.rows * call.output.columns, call.output.data);
  }
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    if (!forward_) dawdle();
    std::copy_n(call.grad_output.data, call.output.rows * call.output.columns, call.grad_inputs[0].data);
  }

 private:
  void dawdle() const {
    for (int i = 0; *is_on_ && i < 2000; ++i) {
      work(1ms);
      check_interrupt();
    }
  }
  bool forward_;
  const bool* is_on_;
};

/// A network of dense, normalization, slow and dense layers, wide enough that gradients are kept before
/// backward.
template <class T>
struct Problem {
  static constexpr std::int64_t kRows = 2100, kWidth = 700;

  explicit Problem(bool slow_forward)
      : parameters(std::make_shared<Parameters<T>>(
            std::vector<Segment>{weight_segment("a", kWidth, 8), weight_segment("b", kWidth, kWidth),
                                 weight_segment("n", kWidth, 1)},
            std::vector<Segment>{bias_segment("mean", 8), bias_segment("variance", 8)})),
        network(make(slow_forward)),
        state(OptimizerKind::adam, parameters->count()) {
    parameters->initialize(3);
    std::mt19937 random(1);
    for (T& number : x) number = static_cast<T>(static_cast<double>(random()) / 4294967296.0);
    objective = network.plan(std::vector<LossTerm>{{LossKind::half_squared_error, 0, 1.0}});
    input = table(x.data(), kRows, 8);
    target = table(y.data(), kRows, kWidth);
    batch = {{&input, 1}, {&target, 1}, {}, nullptr, 0, kRows};
  }
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;

  /// Every number that a call might change.
  std::vector<double> numbers() const {
    const Parameters<T>& store = *parameters;
    const OptimizerState<T>& slots = state;
    std::vector<double> all(store.values(), store.values() + store.count());
    all.insert(all.end(), parameters->gradients(), parameters->gradients() + store.count());
    all.insert(all.end(), store.state(), store.state() + store.state_count());
    for (const std::string& name : slots.slot_names())
      all.insert(all.end(), slots.slot(name), slots.slot(name) + store.count());
    all.push_back(static_cast<double>(store.random_step));
    all.push_back(static_cast<double>(slots.steps));
    return all;
  }

  bool is_slow = false;
  std::vector<T> x = std::vector<T>(kRows * 8), y = std::vector<T>(kRows * kWidth, T(0.5));
  std::shared_ptr<Parameters<T>> parameters;
  Network<T> network;
  OptimizerState<T> state;
  std::shared_ptr<const Objective> objective;
  Table input, target;
  Batch batch;
  Workspace<T> workspace;

 private:
  Network<T> make(bool slow_forward) {
    std::vector<Node> nodes{
        input_node("x", 8),
        make_node("batch_norm", "n", {0}, {}, {0, 1}, {{"num_features", std::int64_t{8}}}),
        dense_node("a", 1, 0, -1, 8, kWidth),
        {"s", std::make_shared<SlowOperation>(slow_forward, &is_slow), {2}},
        dense_node("b", 3, 1, -1, kWidth, kWidth)};
    return {std::make_shared<Graph>(nodes, std::vector<int>{4}), parameters};
  }
};

template <class T>
void check_calls_that_end_early() {
  for (const bool slow_forward : {true, false}) {
    Problem<T> p(slow_forward);
    // So that no number is zero.
    p.network.train_step(*p.objective, p.batch, OptimizerKind::adam, p.state, p.workspace);
    p.network.loss_and_gradients(*p.objective, p.batch, true, false, p.workspace);
    std::vector<T> out(p.y.size());
    const std::vector<std::pair<const char*, std::function<void()>>> calls = {
        {"loss_and_gradients",
         [&] { p.network.loss_and_gradients(*p.objective, p.batch, true, false, p.workspace); }},
        {"adding", [&] { p.network.loss_and_gradients(*p.objective, p.batch, true, true, p.workspace); }},
        {"train_step",
         [&] { p.network.train_step(*p.objective, p.batch, OptimizerKind::adam, p.state, p.workspace); }},
        {"train_epoch",
         [&] {
           p.network.train_epoch(*p.objective, p.batch, Problem<T>::kRows, OptimizerKind::adam, p.state,
                                 p.workspace);
         }},
        {"forward and backward",
         [&] {
           const Matrix<const T> gradient(p.y.data(), Problem<T>::kRows, Problem<T>::kWidth);
           p.network.forward({&p.input, 1}, Problem<T>::kRows, false, p.workspace);
           p.network.backward({&gradient, 1}, {}, true, p.workspace);
         }},
    };
    for (const auto& [name, call] : calls) {
      const bool fills = std::strcmp(name, "train_step") == 0 || std::strcmp(name, "train_epoch") == 0;
      std::vector<double> before = p.numbers();
      p.is_slow = true;
      const auto waited = time_to_end(50ms, call);
      p.is_slow = false;
      if (!(waited >= 0s && waited < kSoon))
        check::fail(__FILE__, __LINE__, std::string(name) + " did not end in time");
      std::vector<double> after = p.numbers();
      if (fills) {  // a step may leave any gradients behind
        const auto first = static_cast<std::ptrdiff_t>(p.parameters->count());
        before.erase(before.begin() + first, before.begin() + 2 * first);
        after.erase(after.begin() + first, after.begin() + 2 * first);
      }
      if (before != after) check::fail(__FILE__, __LINE__, std::string(name) + " changed something");
      call();  // the call can be repeated
    }
  }
}

}  // namespace

TEST(a_call_that_ends_early_changes_nothing) {
  for (const int threads : {1, 2}) {
    const ThreadCount use(threads);
    check_calls_that_end_early<float>();
    check_calls_that_end_early<double>();
  }
}

TEST(a_large_prediction_or_loss_ends_early) {
  for (const int threads : {1, 2}) {
    const ThreadCount use(threads);
    Problem<float> p(true);
    Table many = p.input, targets = p.target;
    many.rows = targets.rows = 1 << 20;
    many.row_stride = targets.row_stride = 0;  // the same row again and again
    std::vector<float> out(1 << 22);
    const Matrix<float> outputs(out.data(), 2048, Problem<float>::kWidth);
    const auto predict = [&] {
      for (;;) p.network.predict({&many, 1}, 2048, {&outputs, 1}, p.workspace);
    };
    const Batch batch{{&many, 1}, {&targets, 1}, {}, nullptr, 0, 1 << 20};
    const auto loss = [&] { p.network.loss(*p.objective, batch, p.workspace); };
    for (const std::function<void()>& call : {std::function<void()>(predict), std::function<void()>(loss)}) {
      const auto waited = time_to_end(60ms, call);
      CHECK(waited >= 0s && waited < kSoon);
    }
    const double before = p.network.loss(*p.objective, p.batch, p.workspace);
    Workspace<float> fresh;
    CHECK(p.network.loss(*p.objective, p.batch, fresh) == before);
  }
}
