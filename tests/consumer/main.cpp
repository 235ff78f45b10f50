// Learns f(x) = x^2 on [-1, 1] with the public headers alone, and predicts it.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "nncore/network.hpp"
#include "nncore/runtime.hpp"

int main() {
  constexpr int samples = 101;
  std::vector<float> x, y;
  for (int i = 0; i < samples; ++i) {
    x.push_back(-1.0f + 0.02f * static_cast<float>(i));
    y.push_back(x.back() * x.back());
  }

  std::vector<nncore::Segment> segments = {
      nncore::weight_segment("hidden.weight", 16, 1), nncore::bias_segment("hidden.bias", 16),
      nncore::weight_segment("out.weight", 1, 16), nncore::bias_segment("out.bias", 1)};
  auto parameters = std::make_shared<nncore::Parameters<float>>(std::move(segments));
  parameters->initialize(0);
  std::vector<nncore::Node> nodes = {
      nncore::input_node("x", 1),
      nncore::make_node("dense", "hidden", {0}, {0, 1}, {}, {{"in_features", 1}, {"out_features", 16}}),
      nncore::make_node("tanh", "tanh", {1}),
      nncore::make_node("dense", "out", {2}, {2, 3}, {}, {{"in_features", 16}, {"out_features", 1}})};
  auto graph = std::make_shared<const nncore::Graph>(std::move(nodes), std::vector<int>{3});
  nncore::Network<float> network(graph, parameters);

  nncore::Optimizer adam(nncore::OptimizerKind::adam);
  adam.learning_rate = 0.02;
  nncore::OptimizerState<float> state(adam, parameters->count());
  nncore::Workspace<float> workspace;
  const nncore::LossTerm terms[] = {{.loss = nncore::LossKind::mean_squared_error}};
  const auto objective = network.plan(terms);
  const nncore::Table inputs[] = {nncore::table(x.data(), samples, 1)};
  const nncore::Table targets[] = {nncore::table(y.data(), samples, 1)};
  const nncore::Batch batch{.inputs = inputs, .targets = targets, .count = samples};
  const double first = network.loss(*objective, batch, workspace);
  for (int step = 0; step < 2000; ++step) network.train_step(*objective, batch, adam, state, workspace);
  const double last = network.loss(*objective, batch, workspace);

  std::vector<float> predicted(samples);
  const nncore::Matrix<float> outputs[] = {{predicted.data(), samples, 1}};
  network.predict(inputs, samples, outputs, workspace);
  double squared = 0.0;
  for (int i = 0; i < samples; ++i) squared += std::pow(predicted[i] - y[i], 2.0);
  const double error = squared / samples;

  std::printf("nncore %s, %s: loss %.3g, after 2000 steps %.3g, of the prediction %.3g\n", nncore::version(),
              nncore::active_instruction_set(), first, last, error);
  // Both are means of the same squares; one rounding of each prediction d moves d^2 by 2 |d| epsilon at most.
  const double tolerance = 2.0 * std::numeric_limits<float>::epsilon() * std::sqrt(last);
  return last < 1e-2 * first && std::abs(error - last) <= tolerance ? 0 : 1;
}
