#include "nncore/graph.hpp"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "functions/join.hpp"
#include "nncore/operation.hpp"

namespace nncore {
namespace {

[[noreturn]] void fail(const Node& node, const std::string& what) {
  throw std::invalid_argument("node '" + node.name + "' " + what);
}

void check_inputs(const std::vector<Node>& nodes, std::size_t index) {
  const Node& node = nodes[index];
  if (node.operation == nullptr) {
    if (!node.inputs.empty()) fail(node, "is an input of the graph but reads other nodes");
    return;
  }
  for (const int input : node.inputs) {
    if (input < 0 || static_cast<std::size_t>(input) >= nodes.size()) {
      fail(node, "reads node " + std::to_string(input) + " of " + std::to_string(nodes.size()));
    }
    if (static_cast<std::size_t>(input) >= index) {
      fail(node, "reads '" + nodes[static_cast<std::size_t>(input)].name +
                     "', which is itself or comes later: the graph has a cycle or is not in order");
    }
    const Node& read = nodes[static_cast<std::size_t>(input)];
    const bool needs_integers = node.operation->reads_integers();
    if (read.is_integer != needs_integers) {
      const std::string what =
          needs_integers ? "an integer input but reads the floats" : "floats but reads the integer input";
      fail(node, std::string("(") + node.operation->kind() + ") needs " + what + " '" + read.name + "'");
    }
  }
}

std::int64_t derive_features(const std::vector<Node>& nodes, const Node& node) {
  std::vector<std::int64_t> widths;
  for (const int input : node.inputs) widths.push_back(nodes[static_cast<std::size_t>(input)].features);
  try {
    return node.operation->out_features(widths);
  } catch (const std::invalid_argument& error) {
    fail(node, std::string("(") + node.operation->kind() + ") " + error.what());
  }
}

}  // namespace

Graph::Graph(std::vector<Node> nodes, std::vector<int> outputs)
    : nodes_(std::move(nodes)), outputs_(std::move(outputs)), readers_(nodes_.size()) {
  if (nodes_.empty()) throw std::invalid_argument("the graph is empty: it has no nodes");
  if (outputs_.empty()) throw std::invalid_argument("the graph has no outputs");
  std::set<std::string> names;
  std::int64_t total_features = 0;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    Node& node = nodes_[i];
    if (!names.insert(node.name).second) fail(node, "has the name of another node");
    check_inputs(nodes_, i);
    if (node.operation == nullptr) {
      inputs_.push_back(static_cast<int>(i));
    } else {
      node.features = derive_features(nodes_, node);
    }
    if (node.features < 1) fail(node, join("must have at least 1 feature; got ", node.features));
    if (node.features > kMostFeatures - total_features)
      fail(node,
           join("must have at most ", kMostFeatures - total_features,
                " features, as all nodes together have ", kMostFeatures, " at most; got ", node.features));
    total_features += node.features;
    for (const int input : node.inputs) {
      readers_[static_cast<std::size_t>(input)].push_back(static_cast<int>(i));
      std::int64_t& below = nodes_[static_cast<std::size_t>(input)].integers_below;
      const std::int64_t own = node.operation->integers_below();
      if (own > 0 && nodes_[static_cast<std::size_t>(input)].is_integer)
        below = below > 0 ? std::min(below, own) : own;
    }
  }
  std::vector<char> is_output(nodes_.size(), 0);
  for (const int output : outputs_) {
    if (output < 0 || static_cast<std::size_t>(output) >= nodes_.size()) {
      throw std::invalid_argument("output " + std::to_string(output) + " is not a node: there are " +
                                  std::to_string(nodes_.size()));
    }
    if (nodes_[static_cast<std::size_t>(output)].is_integer) {
      fail(nodes_[static_cast<std::size_t>(output)], "is an integer input and cannot be an output");
    }
    is_output[static_cast<std::size_t>(output)] = 1;
  }
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (readers_[i].empty() && is_output[i] == 0) {
      fail(nodes_[i], nodes_[i].operation == nullptr ? "is an unused input: no output depends on it"
                                                     : "is unused: no output depends on it");
    }
  }
}

}  // namespace nncore
