// Optimizers against scalar loops, on every instruction set.
#include <stdexcept>

#include "check.hpp"
#include "nncore/optimizers.hpp"
#include "numeric.hpp"

using namespace numeric;
using nncore::Optimizer;
using nncore::OptimizerKind;

namespace {

constexpr OptimizerKind kKinds[] = {OptimizerKind::sgd, OptimizerKind::momentum, OptimizerKind::nesterov,
                                    OptimizerKind::adam, OptimizerKind::adamw};
constexpr int kSteps = 20;
constexpr double kMultiplier = 0.5;

Optimizer make_optimizer(OptimizerKind kind) {
  return {.kind = kind,
          .learning_rate = 0.03,
          .momentum = 0.8,
          .beta1 = 0.85,
          .beta2 = 0.99,
          .epsilon = 1e-6,
          .weight_decay = 0.1};
}

/// One parameter, as the formulas are written, and how much a rounding of every operation could change it.
struct Scalar {
  long double p, m = 0, v = 0;
  long double m_size = 0;  ///< m, had all gradients been positive
  long double moved = 0;   ///< the sum of all that updates could at most have added

  void update(const Optimizer& o, int step, long double g) {
    const long double rate = static_cast<long double>(o.learning_rate) * kMultiplier;
    if (o.kind == OptimizerKind::sgd) {
      p -= rate * g;
      moved += rate * std::fabs(g);
    } else if (o.kind == OptimizerKind::momentum || o.kind == OptimizerKind::nesterov) {
      const long double mu = o.momentum;
      m = mu * m + g;
      m_size = mu * m_size + std::fabs(g);
      p -= rate * (o.kind == OptimizerKind::momentum ? m : g + mu * m);
      moved += rate * (std::fabs(g) + m_size);
    } else {
      const long double b1 = o.beta1, b2 = o.beta2;
      if (o.kind == OptimizerKind::adamw) p -= rate * static_cast<long double>(o.weight_decay) * p;
      m = b1 * m + (1 - b1) * g;
      m_size = b1 * m_size + (1 - b1) * std::fabs(g);
      v = b2 * v + (1 - b2) * g * g;
      const long double root = std::sqrt(v / (1 - std::pow(b2, static_cast<long double>(step))));
      const long double factor = rate / (1 - std::pow(b1, static_cast<long double>(step))) /
                                 (root + static_cast<long double>(o.epsilon));
      p -= factor * m;
      moved += factor * m_size;
    }
  }
};

template <class T>
void check_against_scalar_loop(OptimizerKind kind, std::int64_t count) {
  const Optimizer optimizer = make_optimizer(kind);
  Random random(7);
  const std::vector<T> start = random.uniform<T>(count, -1, 1);
  Guarded<T> p(start), m(count), v(count);
  std::vector<Scalar> expected;
  for (const T value : start) expected.push_back({.p = value});
  for (int step = 1; step <= kSteps; ++step) {
    const std::vector<T> g = random.uniform<T>(count, -2, 2);
    nncore::optimizer_update(optimizer, step, p.data(), g.data(), m.data(), v.data(), count, kMultiplier);
    for (std::size_t i = 0; i < g.size(); ++i) expected[i].update(optimizer, step, g[i]);
  }
  // A gradient of step 1 has been through kSteps roundings of a moment, and an update through fewer than 12
  // more; p itself is rounded at most twice a step and stays below 1 + moved.
  for (std::int64_t i = 0; i < count; ++i) {
    const Scalar& scalar = expected[static_cast<std::size_t>(i)];
    const long double tolerance = kEpsilon<T> * ((kSteps + 12) * scalar.moved + kSteps * (1 + scalar.moved));
    check_close(p[i], scalar.p, tolerance, name(kind));
  }
  CHECK(p.intact() && m.intact() && v.intact());
}

template <class T>
std::vector<T> run_steps(OptimizerKind kind, std::int64_t count, std::int64_t split) {
  Random random(11);
  std::vector<T> p = random.uniform<T>(count, -1, 1), m(p.size()), v(p.size());
  for (int step = 1; step <= 3; ++step) {
    const std::vector<T> g = random.uniform<T>(count, -2, 2);
    const auto update = [&](std::int64_t from, std::int64_t size) {
      nncore::optimizer_update(make_optimizer(kind), step, p.data() + from, g.data() + from, m.data() + from,
                               v.data() + from, size);
    };
    update(0, split);
    update(split, count - split);
  }
  p.insert(p.end(), m.begin(), m.end());
  p.insert(p.end(), v.begin(), v.end());
  return p;
}

template <class T>
T update_once(const Optimizer& optimizer, T p, T g, bool decay) {
  T m = 0, v = 0;
  nncore::optimizer_update(optimizer, 1, &p, &g, &m, &v, 1, 1.0, decay);
  return p;
}

}  // namespace

TEST(twenty_steps_follow_the_formulas) {
  on_every_set([] {
    for (const OptimizerKind kind : kKinds) {
      for (const std::int64_t count : kSizes) {
        check_against_scalar_loop<float>(kind, count);
        check_against_scalar_loop<double>(kind, count);
      }
    }
  });
}

TEST(every_set_split_and_thread_count_gives_the_same_bits) {
  for (const OptimizerKind kind : kKinds) {
    check_same_bits([=] { return run_steps<float>(kind, 100'003, 0); });
    check_same_bits([=] { return run_steps<double>(kind, 100'003, 0); });
    CHECK(run_steps<float>(kind, 1000, 0) == run_steps<float>(kind, 1000, 333));
    CHECK(run_steps<double>(kind, 1000, 0) == run_steps<double>(kind, 1000, 333));
  }
}

TEST(decay_applies_to_adamw_where_asked) {
  Optimizer optimizer = make_optimizer(OptimizerKind::adamw);
  CHECK(update_once(optimizer, 2.0, 0.0, true) == 2.0 * (1.0 - 0.03 * 0.1));
  CHECK(update_once(optimizer, 2.0, 0.0, false) == 2.0);
  optimizer.kind = OptimizerKind::adam;
  CHECK(update_once(optimizer, 2.0, 0.0, true) == 2.0);
}

TEST(nan_gradients_reach_the_parameters) {
  on_every_set([] {
    for (const OptimizerKind kind : kKinds)
      CHECK(std::isnan(update_once(make_optimizer(kind), 1.0f, kNan<float>, true)));
  });
}

TEST(an_epsilon_too_small_for_the_type_divides_by_no_zero) {
  on_every_set([] {
    std::vector<float> p(100, 1.0F), m(100), v(100);
    const std::vector<float> g(100);
    for (int step = 1; step <= 3; ++step)
      nncore::optimizer_update<float>({.kind = OptimizerKind::adam, .epsilon = 1e-50}, step, p.data(),
                                      g.data(), m.data(), v.data(), 100);
    CHECK(p == std::vector<float>(100, 1.0F));
  });
}

TEST(nothing_to_update_is_no_error) {
  for (const OptimizerKind kind : kKinds)
    nncore::optimizer_update<float>(make_optimizer(kind), 1, nullptr, nullptr, nullptr, nullptr, 0);
}

TEST(names_and_moments) {
  const char* names[] = {"sgd", "momentum", "nesterov", "adam", "adamw"};
  const int moments[] = {0, 1, 1, 2, 2};
  for (int i = 0; i < 5; ++i) {
    CHECK(std::string(name(kKinds[i])) == names[i]);
    CHECK(moment_count(kKinds[i]) == moments[i]);
  }
}

TEST(fields_outside_their_range_are_named) {
  struct Case {
    OptimizerKind kind;
    double Optimizer::* field;
    const char* name;
    std::vector<double> bad;
  };
  const double nan = kNan<double>, infinity = kInfinity<double>;
  const Case cases[] = {
      {OptimizerKind::sgd, &Optimizer::learning_rate, "learning_rate", {-1, nan, infinity}},
      {OptimizerKind::momentum, &Optimizer::momentum, "momentum", {-0.1, 1, nan}},
      {OptimizerKind::nesterov, &Optimizer::momentum, "momentum", {-0.1, 1, nan}},
      {OptimizerKind::adam, &Optimizer::beta1, "beta1", {-0.1, 1, nan}},
      {OptimizerKind::adam, &Optimizer::beta2, "beta2", {-0.1, 1, nan}},
      {OptimizerKind::adam, &Optimizer::epsilon, "epsilon", {-1, 0, nan, infinity}},
      {OptimizerKind::adamw, &Optimizer::weight_decay, "weight_decay", {-1, nan, infinity}},
  };
  for (const Case& c : cases) {
    for (const double value : c.bad) {
      Optimizer optimizer = make_optimizer(c.kind);
      optimizer.*c.field = value;
      CHECK_THROWS(validate(optimizer), std::invalid_argument, c.name);
    }
  }
  Optimizer unused = make_optimizer(OptimizerKind::sgd);
  unused.epsilon = -1;
  validate(unused);
}

TEST(bad_updates_change_nothing) {
  double p = 1, g = 1, m = 0;
  const Optimizer adam = make_optimizer(OptimizerKind::adam);
  CHECK_THROWS(nncore::optimizer_update(adam, 0, &p, &g, &m, &m, 1), std::invalid_argument, "step is 0");
  CHECK_THROWS(nncore::optimizer_update<double>(adam, 1, &p, &g, nullptr, &m, 1), std::invalid_argument,
               "first_moment");
  CHECK_THROWS(nncore::optimizer_update<double>(adam, 1, &p, &g, &m, nullptr, 1), std::invalid_argument,
               "second_moment");
  CHECK(p == 1 && m == 0);
}

TEST(moments_of_gradients_that_have_become_zero_end_at_zero) {
  numeric::on_every_set([] {
    for (const nncore::OptimizerKind kind :
         {nncore::OptimizerKind::momentum, nncore::OptimizerKind::nesterov, nncore::OptimizerKind::adam}) {
      nncore::Optimizer optimizer;
      optimizer.kind = kind;
      std::vector<float> p(37, 0.5F), g(37, 1e-3F), m(37), v(37);
      for (std::int64_t step = 1; step <= 2000; ++step) {
        nncore::optimizer_update<float>(optimizer, step, p.data(), g.data(), m.data(), v.data(), 37);
        std::fill(g.begin(), g.end(), 0.0F);  // active in the first step only
        for (const float moment : m) CHECK(moment == 0.0F || std::abs(moment) >= 0x1p-126F);
      }
      CHECK(m == std::vector<float>(37, 0.0F));
    }
  });
}
