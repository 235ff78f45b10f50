// Plain SGD whose update is fused with the backward pass, or with the next forward pass, compared with a
// separate update.
#include <algorithm>

#include "check.hpp"
#include "nncore/network.hpp"
#include "nncore/operation.hpp"
#include "nncore/runtime.hpp"
#include "nodes.hpp"
#include "numeric.hpp"

using namespace nncore;
using numeric::numbers;

namespace {

/// An encoder of 160 to 130, with a weight large enough to be updated while its gradient is formed, and its
/// decoder. The decoder's weight is its own, that of the encoder (updated once both gradients are there), or
/// its own stored transposed.
enum class Decoder { own, tied, transposed };

template <class T>
std::vector<T> sgd_steps(Decoder decoder, std::int64_t rows, bool in_one_step) {
  std::vector<Segment> segments{weight_segment("a.weight", 130, 160), bias_segment("a.bias", 130),
                                bias_segment("b.bias", 160)};
  if (decoder == Decoder::own) segments.push_back(weight_segment("b.weight", 160, 130));
  if (decoder == Decoder::transposed) segments.push_back(weight_segment("b.weight", 130, 160));
  auto parameters = std::make_shared<Parameters<T>>(segments);
  parameters->initialize(11);
  const int weight = decoder == Decoder::tied ? 0 : 3;
  std::vector<Node> nodes{input_node("x", 160), dense_node("a", 0, 0, 1, 160, 130),
                          activation_node("t", 1, ActivationKind::tanh),
                          dense_node("b", 2, weight, 2, 130, 160, decoder != Decoder::own)};
  const Network<T> network(std::make_shared<Graph>(nodes, std::vector<int>{3}), parameters);
  const std::vector<T> x = numbers<T>(rows * 160, 12);
  const Table table_x = table(x.data(), rows, 160);
  const LossTerm terms[] = {{LossKind::half_squared_error, 0, 1.0}};
  const auto objective = network.plan(terms);
  const Optimizer optimizer = OptimizerKind::sgd;
  OptimizerState<T> state(optimizer, parameters->count());
  Workspace<T> workspace;
  for (int step = 0; step < 3; ++step) {
    const Batch batch{{&table_x, 1}, {&table_x, 1}, {}, nullptr, 0, rows};
    if (in_one_step) {
      network.train_step(*objective, batch, optimizer, state, workspace);
    } else {
      network.loss_and_gradients(*objective, batch, true, false, workspace);
      network.update(optimizer, state);
    }
  }
  CHECK(state.steps == 3);
  return {parameters->values(), parameters->values() + parameters->count()};
}

}  // namespace

TEST(an_update_while_the_gradient_is_formed_gives_the_bits_of_an_update_afterwards) {
  for (const Decoder decoder : {Decoder::own, Decoder::tied, Decoder::transposed}) {
    for (const std::int64_t rows : {1, 33, 1100}) {  // the last is more than one chain
      CHECK(sgd_steps<float>(decoder, rows, true) == sgd_steps<float>(decoder, rows, false));
      CHECK(sgd_steps<double>(decoder, rows, true) == sgd_steps<double>(decoder, rows, false));
    }
  }
}

namespace {

/// The identity. Each of its backward passes allows one more thread, so that the next step needs more memory.
class MoreThreads final : public OperationOf<MoreThreads> {
 public:
  const char* kind() const override { return "more_threads"; }
  std::int64_t out_features(std::span<const std::int64_t> features) const override { return features[0]; }
  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    std::copy_n(call.inputs[0].data, call.output.rows * call.output.columns, call.output.data);
  }
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    std::copy_n(call.grad_output.data, call.output.rows * call.output.columns, call.grad_inputs[0].data);
    set_num_threads(num_threads() + 1);
  }
};

/// Seven steps of one sample of type From, 160 to `width` to 10, by train_epoch or one at a time. A weight is
/// changed from outside after the first step.
template <class T, class From>
std::vector<T> sgd_by_sample(std::int64_t width, bool in_an_epoch) {
  auto parameters = std::make_shared<Parameters<T>>(
      std::vector<Segment>{weight_segment("a.weight", width, 160), bias_segment("a.bias", width),
                           weight_segment("b.weight", 10, width), bias_segment("b.bias", 10)});
  parameters->initialize(13);
  std::vector<Node> nodes{input_node("x", 160), dense_node("a", 0, 0, 1, 160, width),
                          activation_node("t", 1, ActivationKind::sigmoid),
                          dense_node("b", 2, 2, 3, width, 10)};
  nodes.push_back({.name = "m", .operation = std::make_shared<MoreThreads>(), .inputs = {3}});
  const Network<T> network(std::make_shared<Graph>(nodes, std::vector<int>{4}), parameters);
  const std::vector<From> x = numbers<From>(5 * 160, 14), y = numbers<From>(5 * 10, 15);
  const std::int64_t rows[] = {3, 0, 0, 4, 2, 1, 3};
  const Table input = table(x.data(), 5, 160), target = table(y.data(), 5, 10);
  const LossTerm terms[] = {{LossKind::half_squared_error, 0, 1.0}};
  const auto objective = network.plan(terms);
  const Optimizer optimizer = OptimizerKind::sgd;
  OptimizerState<T> state(optimizer, parameters->count());
  Workspace<T> workspace;
  const auto change = [&parameters](std::int64_t steps) {
    if (steps == 1) parameters->values()[5] = T(0.25);
    return true;
  };
  if (in_an_epoch) {
    const Batch all{{&input, 1}, {&target, 1}, {}, rows, 0, 7};
    network.train_epoch(*objective, all, 1, optimizer, state, workspace,
                        {.tick = [&](std::int64_t steps, double) { return change(steps); }});
  }
  for (int step = 0; !in_an_epoch && step < 7; ++step) {
    const Batch one{{&input, 1}, {&target, 1}, {}, rows + step, 0, 1};
    network.train_step(*objective, one, optimizer, state, workspace);
    change(step + 1);
  }
  CHECK(state.steps == 7);
  set_num_threads(1);
  return {parameters->values(), parameters->values() + parameters->count()};
}

}  // namespace

TEST(an_update_together_with_the_next_forward_gives_the_bits_of_one_after_the_other) {
  // Whole registers, and remainders of all kinds.
  for (const std::int64_t width : {128, 130, 132, 136, 140}) {
    CHECK((sgd_by_sample<float, float>(width, true) == sgd_by_sample<float, float>(width, false)));
    CHECK((sgd_by_sample<double, double>(width, true) == sgd_by_sample<double, double>(width, false)));
  }
  // Samples that must be converted are not used before their own step.
  CHECK((sgd_by_sample<float, double>(130, true) == sgd_by_sample<float, double>(130, false)));
}
