// A step is made whole or not at all: non-finite numbers are rejected before anything is written.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "functions/reductions.hpp"
#include "nncore/network.hpp"
#include "nncore/not_finite.hpp"
#include "nodes.hpp"
#include "numeric.hpp"
#include "optimizers.hpp"

using namespace nncore;
using numeric::numbers;
using test_optimizers::slots_of;

namespace {

/// A network x -> d -> tanh -> e whose first weight is large enough to be updated while its gradient is
/// formed, or to be bounded.
template <class T>
struct Wide {
  static constexpr std::int64_t kIn = 200, kHidden = 100, kRows = 4;
  std::shared_ptr<Parameters<T>> parameters = std::make_shared<Parameters<T>>(
      std::vector<Segment>{weight_segment("d.weight", kHidden, kIn), bias_segment("d.bias", kHidden),
                           weight_segment("e.weight", 2, kHidden), bias_segment("e.bias", 2)});
  Network<T> network{
      std::make_shared<Graph>(std::vector<Node>{input_node("x", kIn), dense_node("d", 0, 0, 1, kIn, kHidden),
                                                activation_node("a", 1, ActivationKind::tanh),
                                                dense_node("e", 2, 2, 3, kHidden, 2)},
                              std::vector<int>{3}),
      parameters};
  std::vector<T> x = numbers<T>(kRows * kIn, 1), y = numbers<T>(kRows * 2, 2);
  Table input = table(x.data(), kRows, kIn), target = table(y.data(), kRows, 2);
  Batch batch{{&input, 1}, {&target, 1}, {}, nullptr, 0, kRows};
  LossTerm terms[1] = {{LossKind::half_squared_error, 0, 1.0}};
  std::shared_ptr<const Objective> objective = network.plan(terms);
  Workspace<T> workspace;

  Wide() { parameters->initialize(3); }
  std::vector<T> values() const { return {parameters->values(), parameters->values() + parameters->count()}; }
  double step(const Optimizer& optimizer, OptimizerState<T>& state) {
    return network.train_step(*objective, batch, optimizer, state, workspace);
  }
};

/// Checks that a rejected step changes no value, no slot and no step count.
template <class T, class Run>
void check_refused(Wide<T>& model, OptimizerState<T>& state, Run run, const char* message) {
  const std::vector<T> values = model.values(), slots = slots_of(std::as_const(state));
  const std::int64_t steps = state.steps;
  CHECK_THROWS(run(), NotFinite, message);
  CHECK(model.values() == values && slots_of(std::as_const(state)) == slots && state.steps == steps);
}

/// Checks that a step is rejected in this way, or leaves everything finite.
template <class T, class Run>
void check_whole(Wide<T>& model, OptimizerState<T>& state, Run run) {
  const std::vector<T> values = model.values(), slots = slots_of(std::as_const(state));
  const std::int64_t steps = state.steps;
  const auto all_finite = [](const std::vector<T>& numbers) {
    return std::all_of(numbers.begin(), numbers.end(), [](T number) { return std::isfinite(number); });
  };
  try {
    run();
    CHECK(all_finite(model.values()) && all_finite(slots_of(std::as_const(state))));
    CHECK(state.steps == steps + 1);
  } catch (const NotFinite&) {
    CHECK(model.values() == values && slots_of(std::as_const(state)) == slots && state.steps == steps);
  }
}

template <class T>
void check_whole_steps(Optimizer usual) {
  usual.learning_rate = 1e-3;
  const bool is_sgd_or_adam = usual.kind == OptimizerKind::sgd || usual.kind == OptimizerKind::adam;
  const T huge = std::numeric_limits<T>::max();
  {  // a finite loss, but a gradient that overflows, except in the last layer, whose input is small
    Wide<T> model;
    OptimizerState<T> state(usual, model.parameters->count());
    model.step(usual, state);
    for (std::int64_t i = 0; i < Wide<T>::kIn; ++i) model.x[static_cast<std::size_t>(i)] = huge;
    std::fill_n(model.parameters->value(0).data, Wide<T>::kIn * Wide<T>::kHidden, T{0});
    for (std::size_t i = 0; i < model.y.size(); ++i) model.y[i] = T(1e18);
    model.terms[0].weight = 1e-10;
    model.objective = model.network.plan(model.terms);
    check_refused(
        model, state, [&] { model.step(usual, state); }, "the gradient of d.weight is not finite in step 2");
  }
  {  // finite gradients, but an update that may overflow
    Wide<T> model;
    OptimizerState<T> state(usual, model.parameters->count());
    Optimizer fast = usual;
    fast.learning_rate = static_cast<double>(huge) / 8;
    for (T& y : model.y) y *= T(1000);
    if (is_sgd_or_adam)
      check_refused(model, state, [&] { model.step(fast, state); }, "is not finite in step 1 (learning rate");
    check_whole(model, state, [&] { model.step(fast, state); });
  }
  {
    Wide<T> model;
    OptimizerState<T> state(usual, model.parameters->count());
    Optimizer fast = usual;
    fast.learning_rate = static_cast<double>(huge) / 8;
    const auto update = [&] {
      std::fill_n(model.parameters->gradients(), model.parameters->count(), T(100));
      model.network.update(fast, state);
    };
    if (is_sgd_or_adam)
      check_refused(model, state, update, "the update of d.weight is not finite in step 1 (learning rate");
    check_whole(model, state, update);
  }
  for (const T bad : {std::numeric_limits<T>::quiet_NaN(), -std::numeric_limits<T>::infinity()}) {
    Wide<T> model;
    OptimizerState<T> state(usual, model.parameters->count());
    std::fill_n(model.parameters->gradients(), model.parameters->count(), T(1));
    model.parameters->gradient(3).data[1] = bad;
    check_refused(
        model, state, [&] { model.network.update(usual, state); }, "the gradient of e.bias is not finite");
    for (const std::string& slot : state.slot_names()) {
      std::fill_n(model.parameters->gradients(), model.parameters->count(), T(1));
      const T before = std::as_const(state).slot(slot)[7];
      state.slot(slot)[7] = bad;
      CHECK_THROWS(model.network.update(usual, state), NotFinite, "the update of d.weight is not finite");
      CHECK_THROWS(model.step(usual, state), NotFinite, "the update of d.weight is not finite");
      state.slot(slot)[7] = before;
      model.network.update(usual, state);
    }
  }
  Wide<T> model;
  OptimizerState<T> state(usual, model.parameters->count());
  model.step(usual, state);
  for (const std::string& slot : state.slot_names()) {
    const T before = std::as_const(state).slot(slot)[5];
    state.slot(slot)[5] = -1;
    if (usual.kind == OptimizerKind::adam && slot == "second_moment")
      check_refused(
          model, state, [&] { model.step(usual, state); }, "the update of d.weight is not finite in step");
    check_whole(model, state, [&] { model.step(usual, state); });
    state.slot(slot)[5] = before;
  }
  std::fill_n(model.parameters->gradients(), model.parameters->count(), T(1));
  std::fill_n(model.parameters->gradient(2).data, 3, huge / 2);  // finite, but its square is not
  if (usual.kind == OptimizerKind::adam)
    check_refused(
        model, state, [&] { model.network.update(usual, state); }, "the update of e.weight is not finite");
  check_whole(model, state, [&] { model.network.update(usual, state); });
}

/// Steps that are safe although no bound shows it: they are tried out, and then made.
template <class T>
void check_tried_out_steps(Optimizer slow) {
  const T large = static_cast<T>(std::sqrt(static_cast<double>(std::numeric_limits<T>::max())) / 16);
  for (const double rate : {0.0, 1e-30}) {
    slow.learning_rate = rate;
    Wide<T> model, reference;
    OptimizerState<T> state(slow, model.parameters->count()), other(slow, model.parameters->count());
    for (Wide<T>* one : {&model, &reference}) {
      for (T& x : one->x) x *= large / T(1e3);
      for (T& y : one->y) y *= large;
      one->terms[0].weight = 1.0 / (static_cast<double>(large) * static_cast<double>(large));
      one->objective = one->network.plan(one->terms);
    }
    for (int i = 0; i < 3; ++i) {
      model.step(slow, state);
      reference.network.loss_and_gradients(*reference.objective, reference.batch, true, false,
                                           reference.workspace);
      reference.network.update(slow, other);
    }
    CHECK(model.values() == reference.values() && state.steps == 3);
    CHECK(slots_of(std::as_const(state)) == slots_of(std::as_const(other)));
  }
}

}  // namespace

TEST(a_step_is_made_whole_or_not_at_all) {
  numeric::on_every_set([] {
    for (const Optimizer& optimizer : test_optimizers::all()) {
      const int before = check::failures;
      check_whole_steps<float>(optimizer);
      check_whole_steps<double>(optimizer);
      check_tried_out_steps<float>(optimizer);
      check_tried_out_steps<double>(optimizer);
      if (check::failures > before) std::printf("  of %s\n", test_optimizers::name_of(optimizer).c_str());
    }
  });
}

TEST(largest_magnitudes) {
  numeric::on_every_set([] {
    for (const std::int64_t count : {1, 2, 15, 16, 17, 64, 100, 1000, 100'000, 200'001}) {
      std::vector<float> values = numbers<float>(count, 5);
      for (const std::int64_t place : {std::int64_t{0}, count / 2, count - 1}) {
        for (const float value : {-3.0F, INFINITY, NAN, -NAN}) {
          std::vector<float> changed = values;
          changed[static_cast<std::size_t>(place)] = value;
          if (count > 1) changed[static_cast<std::size_t>(count - 1 - place)] = -2.0F;
          if (place * 2 == count - 1) changed[static_cast<std::size_t>(place)] = value;
          const double found = largest_magnitude(changed.data(), count);
          CHECK(std::isnan(value) ? std::isnan(found) : found == std::abs(static_cast<double>(value)));
        }
      }
    }
    CHECK(largest_magnitude<float>(nullptr, 0) == 0.0);
  });
}
