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
    if (!node.inputs.empty())
      fail(node, join("must read no nodes, because it is an input of the graph; got ", node.inputs.size()));
    return;
  }
  for (const int input : node.inputs) {
    if (input < 0 || static_cast<std::size_t>(input) >= nodes.size()) {
      fail(node, join("must read nodes in [0, ", nodes.size(), "); got ", input));
    }
    if (static_cast<std::size_t>(input) >= index) {
      fail(node, join("must read earlier nodes only; got '", nodes[static_cast<std::size_t>(input)].name,
                      "': the graph has a cycle or is not in topological order"));
    }
    const Node& read = nodes[static_cast<std::size_t>(input)];
    const bool needs_integers = node.operation->reads_integers();
    if (read.is_integer != needs_integers) {
      fail(node,
           join("(", node.operation->kind(), ") must read ",
                needs_integers ? "an integer input; got the floats '" : "floats; got the integer input '",
                read.name, "'"));
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
  if (nodes_.empty()) throw invalid("nodes must not be empty");
  if (outputs_.empty()) throw invalid("outputs must not be empty");
  std::set<std::string> names;
  std::int64_t total_features = 0;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    Node& node = nodes_[i];
    if (!names.insert(node.name).second)
      throw invalid("names of nodes must differ; got '", node.name, "' twice");
    check_inputs(nodes_, i);
    if (node.operation == nullptr) {
      inputs_.push_back(static_cast<int>(i));
    } else {
      node.features = derive_features(nodes_, node);
    }
    if (node.features < 1) fail(node, join("must have at least 1 feature; got ", node.features));
    if (node.features > kMostFeatures - total_features)
      fail(node, join("must have at most ", kMostFeatures - total_features,
                      " features, because all nodes together may have at most ", kMostFeatures, "; got ",
                      node.features));
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
      throw invalid("outputs must be nodes in [0, ", nodes_.size(), "); got ", output);
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
