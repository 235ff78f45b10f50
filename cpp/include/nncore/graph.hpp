// Graph: which operation feeds which. Immutable, in topological order, without numbers of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nncore/activations.hpp"

namespace nncore {

class Operation;  // nncore/operation.hpp

struct Node {
  std::string name;
  std::shared_ptr<const Operation> operation;  ///< null: an input of the graph
  std::vector<int> inputs;                     ///< indices of the nodes it reads
  std::int64_t features = 0;                   ///< width; of inputs given, of others derived by Graph
  bool is_integer = false;                     ///< an input of integers (indices), which has no gradient
};

/// A float or integer input of `features` columns.
Node input_node(std::string name, std::int64_t features, bool is_integer = false);
/// z = x weight^T + bias; weight and bias are segments of the store, bias -1: none. Two nodes may name
/// the same segments (a shared layer), and one may use a weight transposed (tied: z = x weight + bias).
Node dense_node(std::string name, int input, int weight, int bias, std::int64_t in_features,
                std::int64_t out_features, bool transposed = false);
Node activation_node(std::string name, int input, Activation activation);
Node add_node(std::string name, std::vector<int> inputs);
Node subtract_node(std::string name, std::vector<int> inputs);
Node multiply_node(std::string name, std::vector<int> inputs);
Node concatenate_node(std::string name, std::vector<int> inputs);

class Graph {
 public:
  /// Checks everything that can be wrong before there are numbers, and derives widths. Throws
  /// std::invalid_argument, naming the node, for: no nodes or no outputs, a node that reads itself or a
  /// later one (a cycle), an input or value that no output depends on, widths that do not fit, two
  /// nodes of one name, integers where floats belong.
  Graph(std::vector<Node> nodes, std::vector<int> outputs);

  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<int>& inputs() const { return inputs_; }
  const std::vector<int>& outputs() const { return outputs_; }
  /// Nodes that read node `index`, in order; once for each time they read it.
  const std::vector<int>& readers(int index) const { return readers_[static_cast<std::size_t>(index)]; }
  const Node& node(int index) const { return nodes_[static_cast<std::size_t>(index)]; }
  bool is_output(int index) const;

 private:
  std::vector<Node> nodes_;
  std::vector<int> inputs_, outputs_;
  std::vector<std::vector<int>> readers_;
};

}  // namespace nncore
