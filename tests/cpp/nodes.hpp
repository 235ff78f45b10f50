// Nodes as the tests need them: make_node with positional arguments.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "nncore/activations.hpp"
#include "nncore/graph.hpp"
#include "nncore/initializers.hpp"

namespace nncore {

/// bias -1: no bias.
inline Node dense_node(std::string name, int input, int weight, int bias, std::int64_t in_features,
                       std::int64_t out_features, bool transposed = false) {
  std::vector<int> segments{weight};
  if (bias >= 0) segments.push_back(bias);
  return make_node(
      "dense", std::move(name), {input}, segments, {},
      {{"in_features", in_features}, {"out_features", out_features}, {"transposed", transposed}});
}

/// An initializer that sets every number to `value`.
inline Initializer constant(double value) {
  Initializer initializer(InitializerKind::constant);
  initializer.value = value;
  return initializer;
}

inline Node activation_node(std::string name, int input, ActivationKind kind) {
  return make_node(entry_of(kind).name, std::move(name), {input});
}

inline Node add_node(std::string name, std::vector<int> inputs) {
  return make_node("add", std::move(name), std::move(inputs));
}
inline Node subtract_node(std::string name, std::vector<int> inputs) {
  return make_node("subtract", std::move(name), std::move(inputs));
}
inline Node multiply_node(std::string name, std::vector<int> inputs) {
  return make_node("multiply", std::move(name), std::move(inputs));
}
inline Node concatenate_node(std::string name, std::vector<int> inputs) {
  return make_node("concatenate", std::move(name), std::move(inputs));
}

}  // namespace nncore
