// Properties of every optimizer of the table, on every instruction set. tests/test_optimizers.py compares the
// formulas with independent ones.
#include "functions/optimizers.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <set>
#include <stdexcept>

#include "check.hpp"
#include "functions/reductions.hpp"
#include "nncore/optimizers.hpp"
#include "numeric.hpp"
#include "optimizers.hpp"

using namespace numeric;
using nncore::kMaxSlots;
using nncore::kOptimizers;
using nncore::Optimizer;
using nncore::OptimizerEntry;
using nncore::OptimizerKind;
using nncore::Slot;
using test_optimizers::name_of;

namespace {

/// The slots of some parameters, each followed by elements that nobody may write.
template <class T>
struct Slots {
  Slots(const Optimizer& optimizer, std::int64_t count, T value = 0) {
    for (std::size_t i = 0; i < kMaxSlots; ++i)
      if (entry_of(optimizer.kind).slots[i].exists(optimizer)) arrays[i] = Guarded<T>(count, value);
  }
  std::array<T*, kMaxSlots> at(std::int64_t offset = 0) {
    std::array<T*, kMaxSlots> pointers{};
    for (std::size_t i = 0; i < kMaxSlots; ++i)
      if (arrays[i].intact() && !arrays[i].values().empty()) pointers[i] = arrays[i].data() + offset;
    return pointers;
  }
  std::array<Guarded<T>, kMaxSlots> arrays{Guarded<T>(0), Guarded<T>(0), Guarded<T>(0)};
};

template <class T>
std::vector<T> run_steps(const Optimizer& optimizer, std::int64_t count, std::int64_t split) {
  Random random(11);
  Guarded<T> p(random.uniform<T>(count, -1, 1));
  Slots<T> slots(optimizer, count);
  for (int step = 1; step <= 3; ++step) {
    const std::vector<T> g = random.uniform<T>(count, -2, 2);
    const auto update = [&](std::int64_t from, std::int64_t size) {
      nncore::optimizer_update(optimizer, step, p.data() + from, g.data() + from, slots.at(from), size, 0.5);
    };
    update(0, split);
    update(split, count - split);
  }
  std::vector<T> all = p.values();
  CHECK(p.intact());
  for (const Guarded<T>& slot : slots.arrays) {
    CHECK(slot.intact());
    const std::vector<T> values = slot.values();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

/// One parameter after a first step.
template <class T>
T update_once(const Optimizer& optimizer, T p, T g, double weight_decay_multiplier = 1.0) {
  Slots<T> slots(optimizer, 1);
  nncore::optimizer_update(optimizer, 1, &p, &g, slots.at(), 1, 1.0, weight_decay_multiplier);
  return p;
}

/// A step with the largest gradients that count as safe, and everything else as bad as possible.
template <class T>
void check_bounds(const Optimizer& optimizer, double moment, int step_number) {
  constexpr std::int64_t kCount = 8;
  const nncore::OptimizerStep<T> step(optimizer, step_number);
  const auto scalars = step.scalars(1.0, 0.0);
  const double safe = step.safe_gradient(scalars, moment);
  if (safe == 0.0) return;
  const T gradient = static_cast<T>(safe * (1.0 - 1e-6));
  std::vector<T> p(kCount), g(kCount);
  Slots<T> slots(optimizer, kCount);
  for (std::int64_t i = 0; i < kCount; ++i) {
    p[static_cast<std::size_t>(i)] = std::numeric_limits<T>::max() * (i % 2 == 0 ? T{1} : T{-1});
    g[static_cast<std::size_t>(i)] = gradient * (i / 2 % 2 == 0 ? T{1} : T{-1});
    for (std::size_t s = 0; s < kMaxSlots; ++s)
      if (slots.at()[s] != nullptr && !entry_of(optimizer.kind).slots[s].never_negative)
        slots.arrays[s][i] = static_cast<T>(moment) * (i / 4 == 0 ? T{1} : T{-1});
  }
  step.update(scalars, p.data(), g.data(), slots.at(), kCount);
  const double next = step.next_moment(moment, static_cast<double>(gradient));
  for (std::int64_t i = 0; i < kCount; ++i) {
    CHECK(std::isfinite(p[static_cast<std::size_t>(i)]));
    for (std::size_t s = 0; s < kMaxSlots; ++s) {
      if (slots.at()[s] == nullptr) continue;
      const bool never_negative = entry_of(optimizer.kind).slots[s].never_negative;
      const T value = slots.arrays[s][i];
      CHECK(std::isfinite(value) && (never_negative ? value >= T{0} : std::abs(value) <= next));
    }
  }
}

}  // namespace

TEST(every_set_split_and_thread_count_gives_the_same_bits) {
  for (const Optimizer& optimizer : test_optimizers::all()) {
    const int before = check::failures;
    check_same_bits([=] { return run_steps<float>(optimizer, 70'003, 0); });
    check_same_bits([=] { return run_steps<double>(optimizer, 35'003, 0); });
    on_every_set([&] {
      for (const std::int64_t count : kSizes) {
        CHECK(run_steps<float>(optimizer, count, 0) == run_steps<float>(optimizer, count, count / 3));
        CHECK(run_steps<double>(optimizer, count, 0) == run_steps<double>(optimizer, count, count / 3));
      }
    });
    if (check::failures > before) std::printf("  of %s\n", name_of(optimizer).c_str());
  }
}

TEST(what_is_called_safe_is_safe) {
  for (Optimizer optimizer : test_optimizers::all()) {
    const int before = check::failures;
    for (const double rate : {0.0, 1e-3, 1.0, 1e10})
      for (const double moment : {0.0, 1.0, 1e10, 1e29})
        for (const int step : {1, 1000}) {
          optimizer.learning_rate = rate;
          check_bounds<float>(optimizer, moment, step);
          check_bounds<double>(optimizer, moment, step);
        }
    if (check::failures > before) std::printf("  of %s\n", name_of(optimizer).c_str());
  }
}

TEST(ordinary_steps_need_not_be_tried_out) {
  for (const Optimizer& optimizer : test_optimizers::all()) {
    const nncore::OptimizerStep<float> step(optimizer, 1);
    double moment = 0.0;
    for (int i = 0; i < 100'000; ++i) moment = step.next_moment(moment, 10.0);
    CHECK(step.safe_gradient(step.scalars(1.0, 1.0), moment) > 10.0);
  }
}

TEST(weight_decay_and_l2_apply_by_their_multiplier) {
  for (const OptimizerEntry& entry : kOptimizers) {
    Optimizer optimizer(entry.kind);
    optimizer.learning_rate = 0.03;
    optimizer.weight_decay = 0.1;
    CHECK(update_once(optimizer, 2.0, 0.0) == 2.0 * (1.0 - 0.03 * 0.1));
    CHECK(update_once(optimizer, 2.0, 0.0, 0.5) == 2.0 * (1.0 - 0.03 * 0.05));
    CHECK(update_once(optimizer, 2.0, 0.0, 0.0) == 2.0);
    optimizer.weight_decay = 0.0;
    const double without = update_once(optimizer, 2.0, 0.75);
    optimizer.l2 = 0.25;
    CHECK(update_once(optimizer, 2.0, 0.25) == without);
    CHECK(update_once(optimizer, 2.0, 0.5, 0.5) == without);
    CHECK(update_once(optimizer, 2.0, 0.75, 0.0) == without);
  }
}

TEST(nan_gradients_reach_the_parameters) {
  on_every_set([] {
    for (const Optimizer& optimizer : test_optimizers::all())
      CHECK(std::isnan(update_once(optimizer, 1.0F, kNan<float>)));
  });
}

TEST(an_epsilon_too_small_for_the_type_divides_by_no_zero) {
  on_every_set([] {
    for (Optimizer optimizer : test_optimizers::all()) {
      if (optimizer.epsilon == 0.0 || optimizer.l2 != 0.0 || optimizer.weight_decay != 0.0) continue;
      optimizer.epsilon = 1e-50;
      CHECK(update_once(optimizer, 1.0F, 0.0F) == 1.0F);
    }
  });
}

TEST(nothing_to_update_is_no_error) {
  for (const Optimizer& optimizer : test_optimizers::all())
    nncore::optimizer_update<float>(optimizer, 1, nullptr, nullptr, {}, 0);
}

TEST(a_kind_has_the_defaults_of_its_entry) {
  std::set<std::string> names, class_names;
  for (const OptimizerEntry& entry : kOptimizers) {
    const Optimizer optimizer(entry.kind);
    CHECK(nncore::find_entry(kOptimizers, entry.name) == &entry);
    CHECK(names.insert(entry.name).second && class_names.insert(entry.class_name).second);
    CHECK(std::string(entry.parameters[0].name) == "learning_rate" && optimizer.learning_rate > 0.0);
    constexpr std::size_t kFields = (sizeof optimizer - offsetof(Optimizer, learning_rate)) / sizeof(double);
    std::array<double, kFields> fields;
    std::memcpy(fields.data(), &optimizer.learning_rate, sizeof fields);
    double sum = std::accumulate(fields.begin(), fields.end(), 0.0), defaults = 0.0;  // unused fields are 0
    for (const auto& parameter : entry.parameters)
      defaults += parameter.name != nullptr ? parameter.initial : 0;
    CHECK(std::abs(sum - defaults) < 1e-12);
    validate(optimizer);
  }
}

TEST(hyperparameters_outside_their_range_are_named) {
  for (const OptimizerEntry& entry : kOptimizers) {
    for (std::size_t i = 0; i < parameter_count(entry); ++i) {
      const auto& parameter = entry.parameters[i];
      for (const double bad : {parameter.range.low - 1.0, kNan<double>, kInfinity<double>}) {
        Optimizer optimizer(entry.kind);
        optimizer.*parameter.field = bad;
        CHECK_THROWS(validate(optimizer), std::invalid_argument, std::string(parameter.name) + " must be ");
      }
    }
  }
  Optimizer optimizer(OptimizerKind::sgd);
  optimizer.epsilon = -1.0;  // sgd has no epsilon
  validate(optimizer);
  optimizer.nesterov = 1.0;
  CHECK_THROWS(validate(optimizer), std::invalid_argument, "nesterov must be False if momentum is 0");
  CHECK_THROWS(validate(nncore::Factors{.learning_rate = -1.0}), std::invalid_argument,
               "the factor of learning_rate must be");
}

TEST(a_state_has_the_slots_of_its_optimizer) {
  for (const Optimizer& optimizer : test_optimizers::all()) {
    const nncore::OptimizerState<float> state(optimizer, 5);
    std::vector<std::string> names;
    for (const Slot& slot : entry_of(optimizer.kind).slots) {
      if (!slot.exists(optimizer)) continue;
      names.emplace_back(slot.name);
      const float start = slot.initial != nullptr ? static_cast<float>(optimizer.*slot.initial) : 0.0F;
      CHECK(
          std::all_of(state.slot(slot.name), state.slot(slot.name) + 5, [=](float v) { return v == start; }));
    }
    CHECK(state.slot_names() == names && state.slot("velocity") == nullptr);
    validate(optimizer, state, 5);
    CHECK_THROWS(validate(optimizer, state, 6), std::invalid_argument, "with 6 parameters");
    const OptimizerKind other =
        optimizer.kind == OptimizerKind::adam ? OptimizerKind::sgd : OptimizerKind::adam;
    CHECK_THROWS(validate(other, state, 5), std::invalid_argument, "; got one for");
  }
  Optimizer momentum(OptimizerKind::sgd);
  const nncore::OptimizerState<float> plain(momentum, 5);
  momentum.momentum = 0.9;
  CHECK_THROWS(
      validate(momentum, plain, 5), std::invalid_argument,
      "state must be for sgd with 5 parameters and the slots momentum_buffer; got one for sgd with 5 "
      "parameters and no slots");
}

TEST(bad_updates_change_nothing) {
  for (const Optimizer& optimizer : test_optimizers::all()) {
    double p = 1, g = 1;
    Slots<double> slots(optimizer, 1);
    CHECK_THROWS(nncore::optimizer_update(optimizer, 0, &p, &g, slots.at(), 1), std::invalid_argument,
                 "step must be in [1, 2^53]; got 0");
    for (std::size_t i = 0; i < kMaxSlots; ++i) {
      auto pointers = slots.at();
      if (pointers[i] == nullptr) continue;
      pointers[i] = nullptr;
      CHECK_THROWS(nncore::optimizer_update(optimizer, 1, &p, &g, pointers, 1), std::invalid_argument,
                   entry_of(optimizer.kind).slots[i].name);
    }
    CHECK(p == 1);
  }
}

TEST(slots_of_gradients_that_have_become_zero_hold_no_subnormal_numbers) {
  on_every_set([] {
    for (const Optimizer& optimizer : test_optimizers::all()) {
      if (optimizer.l2 != 0.0) continue;
      std::vector<float> p(37, 0.5F), g(37, 1e-19F);
      Slots<float> slots(optimizer, 37);
      for (std::int64_t step = 1; step <= 2000; ++step) {
        nncore::optimizer_update<float>(optimizer, step, p.data(), g.data(), slots.at(), 37);
        std::fill(g.begin(), g.end(), 0.0F);  // active in the first step only
        for (const Guarded<float>& slot : slots.arrays)
          for (const float value : slot.values()) CHECK(value == 0.0F || std::abs(value) >= 0x1p-126F);
      }
    }
  });
}
