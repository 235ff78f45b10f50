// Transforms and factors of a step, compared with scalar formulas on every instruction set and thread count.
#include "nncore/transforms.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "check.hpp"
#include "functions/reductions.hpp"
#include "nncore/network.hpp"
#include "nncore/not_finite.hpp"
#include "nodes.hpp"
#include "numeric.hpp"

using namespace nncore;
using numeric::kInfinity;
using numeric::kNan;
using numeric::numbers;

namespace {

using Transforming = std::vector<std::shared_ptr<const Transform>>;

/// x -> d -> tanh -> e, where e.bias is frozen; the store has a segment that the graph does not use.
template <class T>
struct Model {
  static constexpr std::int64_t kIn = 200, kHidden = 300, kRows = 4;
  std::shared_ptr<Parameters<T>> parameters = std::make_shared<Parameters<T>>(std::vector<Segment>{
      weight_segment("other.weight", 7, 3), weight_segment("d.weight", kHidden, kIn),
      bias_segment("d.bias", kHidden), weight_segment("e.weight", 2, kHidden), bias_segment("e.bias", 2)});
  Network<T> network{
      std::make_shared<Graph>(std::vector<Node>{input_node("x", kIn), dense_node("d", 0, 1, 2, kIn, kHidden),
                                                activation_node("a", 1, ActivationKind::tanh),
                                                dense_node("e", 2, 3, 4, kHidden, 2)},
                              std::vector<int>{3}),
      parameters};
  std::vector<T> x = numbers<T>(kRows * kIn, 1), y = numbers<T>(kRows * 2, 2);
  Table input{x.data(), scalar_type<T>(), kRows, kIn, kIn * kSize, kSize},
      target{y.data(), scalar_type<T>(), kRows, 2, 2 * kSize, kSize};
  Batch batch{{&input, 1}, {&target, 1}, {}, nullptr, 0, kRows};
  LossTerm terms[1] = {{LossKind::half_squared_error, 0, 1.0}};
  std::shared_ptr<const Objective> objective = network.plan(terms);
  Workspace<T> workspace;
  Optimizer optimizer = OptimizerKind::sgd;
  OptimizerState<T> state{optimizer, parameters->count()};

  Model() {
    parameters->initialize(3);
    parameters->set_trainable(4, false);
  }
  /// The elements that a step changes.
  std::int64_t first() const { return parameters->offset(1); }
  std::int64_t last() const { return parameters->offset(4); }
  std::vector<T> values() const { return copy(std::as_const(*parameters).values()); }
  std::vector<T> gradients() const { return copy(std::as_const(*parameters).gradients()); }
  void step(Transforms transforms, Factors factors = {}) {
    network.train_step(*objective, batch, optimizer, state, workspace, {factors, transforms});
  }

 private:
  static constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
  std::vector<T> copy(const T* from) const { return {from, from + parameters->count()}; }
};

template <class T>
std::vector<T> after_steps(const Transforming& transforms) {
  Model<T> model;
  for (int i = 0; i < 3; ++i) model.step(transforms);
  std::vector<T> all = model.values();
  if (const T* const average = std::as_const(model.state).slot("average"))
    all.insert(all.end(), average, average + model.parameters->count());
  return all;
}

/// Changes nothing, but makes a step store its gradients.
class Nothing final : public Transform {};

/// Doubles all gradients of a step, and counts its calls.
class Doubling final : public Transform {
 public:
  void change_gradients(const TransformCall<float>& call) const override {
    ++calls;
    call.for_each_piece([&](std::int64_t offset, std::int64_t count) {
      for (std::int64_t i = offset; i < offset + count; ++i) call.parameters.gradients()[i] *= 2;
    });
  }
  mutable int calls = 0;
};

}  // namespace

TEST(the_sum_of_squares) {
  numeric::on_every_set([] {
    for (const std::int64_t count : {0, 1, 15, 16, 17, 100, 16'384, 16'385, 5'000'001}) {
      const std::vector<float> values = numbers<float>(count, 4);
      double expected = 0.0;
      for (const float v : values) expected += static_cast<double>(v) * static_cast<double>(v);
      CHECK(std::abs(sum_of_squares(values.data(), count) - expected) <= 1e-12 * expected);
      CHECK(std::abs(sum_of_squares(values.data(), count, 0.5) - expected / 4) <= 1e-12 * expected);
    }
  });
  numeric::check_same_bits([] {
    const std::vector<double> values = numbers<double>(300'001, 5);
    return std::vector<double>{sum_of_squares(values.data(), 300'001)};
  });
}

TEST(every_set_and_thread_count_gives_the_same_bits) {
  const Transforming all{clip_by_value(0.01), clip_by_global_norm(0.02), moving_average(0.75)};
  numeric::check_same_bits([&] { return after_steps<float>(all); });
  numeric::check_same_bits([&] { return after_steps<double>(all); });
}

TEST(clipping_by_the_global_norm_of_what_the_step_changes) {
  Model<double> clipped, plain;
  plain.step(Transforming{std::make_shared<Nothing>()});
  const std::vector<double> g = plain.gradients();
  double norm = 0.0;
  for (auto i = clipped.first(); i < clipped.last(); ++i)
    norm += g[static_cast<std::size_t>(i)] * g[static_cast<std::size_t>(i)];
  norm = std::sqrt(norm);
  clipped.step(Transforming{clip_by_global_norm(norm / 4)});
  const Model<double> start;
  for (std::size_t i = 0; i < g.size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    const double change = index >= start.first() && index < start.last() ? g[i] / 4 * 0.01 : 0.0;
    CHECK(std::abs(clipped.values()[i] - (start.values()[i] - change)) <= 1e-15);
    if (i > 100) i += 997;  // a sample of the rest
  }
  Model<double> large;  // a norm below the limit changes no bit
  large.step(Transforming{clip_by_global_norm(norm * 1.001)});
  CHECK(large.values() == plain.values());
}

TEST(clipping_by_value) {
  Model<float> model;
  std::vector<float> gradients = numbers<float>(model.parameters->count(), 6);
  std::copy(gradients.begin(), gradients.end(), model.parameters->gradients());
  std::vector<float> expected = model.values();
  for (auto i = static_cast<std::size_t>(model.first()); i < static_cast<std::size_t>(model.last()); ++i)
    expected[i] -= 0.01F * std::clamp(gradients[i], -0.25F, 0.25F);
  model.network.update(model.optimizer, model.state, {{}, Transforming{clip_by_value(0.25)}});
  const std::vector<float> after = model.values();
  CHECK(after == expected);
}

TEST(a_moving_average_follows_the_parameters_of_the_step) {
  Model<float> model;
  std::vector<float> expected = model.values();
  const Transforming transforms{moving_average(0.75)};
  for (int i = 0; i < 3; ++i) {
    model.step(transforms);
    for (auto k = model.first(); k < model.last(); ++k) {
      float& average = expected[static_cast<std::size_t>(k)];
      average = 0.75F * average + 0.25F * model.values()[static_cast<std::size_t>(k)];
      if (k > 100) k += 997;
    }
  }
  const float* const average = std::as_const(model.state).slot("average");
  for (auto k = model.first(); k < model.last(); ++k) {
    CHECK(average[k] == expected[static_cast<std::size_t>(k)]);
    if (k > 100) k += 997;
  }
  CHECK(average[0] == model.values()[0]);
  CHECK_THROWS(model.step(Transforming{moving_average(0.5), moving_average(0.9)}), std::invalid_argument,
               "transforms must keep different slots; got 'average' twice");
}

TEST(transforms_store_all_gradients_and_change_no_bit_themselves) {
  Model<float> fused, stored;
  const Transforming transforms{std::make_shared<Nothing>()};
  for (int i = 0; i < 3; ++i) {
    fused.step({});
    stored.step(transforms);
  }
  CHECK(fused.values() == stored.values());
  const Model<float> untouched;
  CHECK(fused.gradients()[30] == untouched.gradients()[30]);  // the large weight's is not stored
  CHECK(stored.gradients()[30] != untouched.gradients()[30]);
}

TEST(a_transform_from_outside_is_called_once_a_step) {
  Model<float> doubled, faster;
  const auto doubling = std::make_shared<Doubling>();
  const Transforming transforms{doubling};
  EpochOptions options;
  options.transforms = transforms;
  doubled.network.train_epoch(*doubled.objective, doubled.batch, 2, doubled.optimizer, doubled.state,
                              doubled.workspace, options);
  CHECK(doubling->calls == 2);
  faster.optimizer.learning_rate *= 2;
  faster.network.train_epoch(*faster.objective, faster.batch, 2, faster.optimizer, faster.state,
                             faster.workspace);
  CHECK(doubled.values() == faster.values());
}

TEST(transforms_hide_nothing_that_is_not_finite) {
  for (const auto& transform : Transforming{clip_by_value(1.0), clip_by_global_norm(1.0)}) {
    for (const float bad : {kNan<float>, kInfinity<float>, -kInfinity<float>}) {
      Model<float> model;
      const std::vector<float> before = model.values();
      std::fill_n(model.parameters->gradients(), model.parameters->count(), 2.0F);
      model.parameters->gradient(2).data[5] = bad;
      CHECK_THROWS(model.network.update(model.optimizer, model.state, {{}, {&transform, 1}}), NotFinite,
                   "the gradient of d.bias is not finite in step 1");
      CHECK(model.values() == before && model.state.steps == 0);
    }
  }
}

TEST(squares_that_overflow_are_clipped_all_the_same) {
  Model<double> model;
  const std::vector<double> before = model.values();
  std::fill_n(model.parameters->gradients(), model.parameters->count(), 1e200);
  model.optimizer.learning_rate = 1.0;
  model.network.update(model.optimizer, model.state, {{}, Transforming{clip_by_global_norm(1.0)}});
  const double each = 1.0 / std::sqrt(static_cast<double>(model.last() - model.first()));
  CHECK(std::abs(before[30] - model.values()[30] - each) <= 1e-14);
}

TEST(arguments_of_transforms) {
  for (const double bad : {0.0, -1.0, kNan<double>, kInfinity<double>}) {
    CHECK_THROWS(clip_by_global_norm(bad), std::invalid_argument, "max_norm must be a finite number greater");
    CHECK_THROWS(clip_by_value(bad), std::invalid_argument, "limit must be a finite number greater");
  }
  for (const double bad : {-0.1, 1.0, kNan<double>})
    CHECK_THROWS(moving_average(bad), std::invalid_argument, "decay must be a number of at least 0");
}

TEST(factors_multiply_the_hyperparameters_of_their_steps) {
  Model<float> scheduled, by_hand;
  scheduled.optimizer.weight_decay = by_hand.optimizer.weight_decay = 0.125;
  const FactorRun runs[] = {{1, {.learning_rate = 0.5}}, {2, {.learning_rate = 2.0, .weight_decay = 4.0}}};
  EpochOptions options;
  options.factors = runs;
  scheduled.network.train_epoch(*scheduled.objective, scheduled.batch, 1, scheduled.optimizer,
                                scheduled.state, scheduled.workspace, options);
  for (int i = 0; i < 4; ++i) {
    Optimizer optimizer = by_hand.optimizer;
    optimizer.learning_rate *= i == 0 ? 0.5 : 2.0;  // the last run continues
    optimizer.weight_decay *= i == 0 ? 1.0 : 4.0;
    Batch one = by_hand.batch;
    one.first = i;
    one.count = 1;
    by_hand.network.train_step(*by_hand.objective, one, optimizer, by_hand.state, by_hand.workspace);
  }
  CHECK(scheduled.values() == by_hand.values());
  const FactorRun bad[] = {{0, {}}};
  options.factors = bad;
  CHECK_THROWS(scheduled.network.train_epoch(*scheduled.objective, scheduled.batch, 1, scheduled.optimizer,
                                             scheduled.state, scheduled.workspace, options),
               std::invalid_argument, "steps of a run of factors must be at least 1; got 0");
  CHECK_THROWS(scheduled.step({}, {.learning_rate = kNan<double>}), std::invalid_argument,
               "the factor of learning_rate must be");
}

TEST(a_learning_rate_that_a_tick_sets_applies_from_the_next_step) {
  Model<float> changed, by_hand;
  EpochOptions options;
  options.tick = [&](std::int64_t steps, double) {
    if (steps == 1) changed.optimizer.learning_rate = 0.25;
    return true;
  };
  changed.network.train_epoch(*changed.objective, changed.batch, 1, changed.optimizer, changed.state,
                              changed.workspace, options);
  for (int i = 0; i < 4; ++i) {
    Batch one = by_hand.batch;
    one.first = i;
    one.count = 1;
    if (i == 1) by_hand.optimizer.learning_rate = 0.25;
    by_hand.network.train_step(*by_hand.objective, one, by_hand.optimizer, by_hand.state, by_hand.workspace);
  }
  CHECK(changed.values() == by_hand.values());
}
