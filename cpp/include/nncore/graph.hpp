// Graph: which operation feeds which. Immutable, in topological order, without numbers of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace nncore {

class Operation;  // nncore/operation.hpp

/// All nodes of a graph together are at most as wide: products with a number of rows or bytes then fit 64
/// bits wherever there is memory for them.
inline constexpr std::int64_t kMostFeatures = std::int64_t{1} << 40;

struct Node {
  std::string name;
  std::shared_ptr<const Operation> operation;  ///< null: an input of the graph
  std::vector<int> inputs;                     ///< indices of the nodes it reads
  std::int64_t features = 0;                   ///< width; of inputs given, of others derived by Graph
  bool is_integer = false;                     ///< an input of integers (indices), which has no gradient
  std::int64_t integers_below =
      0;  ///< of such an input: at least 0 and less than this; derived by Graph; 0: any
};

/// A float or integer input of `features` columns.
Node input_node(std::string name, std::int64_t features, bool is_integer = false);

/// What describes a node beside what it reads: "out_features", "transposed", "negative_slope", ...
using Attribute = std::variant<bool, std::int64_t, double, std::string>;
using Attributes = std::map<std::string, Attribute, std::less<>>;

/// A node of any kind: "dense", "add", the name of an activation, ... `segments` and `state` are indices of
/// the store's segments and state segments, in the order that the operation asks for. Two nodes may name the
/// same (a shared layer). Throws std::invalid_argument, naming the node, for a kind that does not exist, and
/// for inputs, segments and attributes that do not fit the kind.
///
///   dense         z = x weight^T + bias. segments: weight (O, I), and bias (O) or none. attributes:
///                 in_features, out_features; transposed: z = x weight + bias with a weight (I, O)
///   add, subtract, multiply, concatenate   no attributes
///   activations   their parameters, and `order` for derivatives
Node make_node(std::string_view kind, std::string name, std::vector<int> inputs,
               std::vector<int> segments = {}, std::vector<int> state = {},
               const Attributes& attributes = {});

class Graph {
 public:
  /// Checks everything that can be wrong before there are numbers, and derives widths. Throws
  /// std::invalid_argument, naming the node, for: no nodes or no outputs, a node that reads itself or a
  /// later one (a cycle), an input or value that no output depends on, widths that do not fit or are more
  /// than kMostFeatures together, two nodes of one name, integers where floats belong.
  Graph(std::vector<Node> nodes, std::vector<int> outputs);

  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<int>& inputs() const { return inputs_; }
  const std::vector<int>& outputs() const { return outputs_; }
  /// Nodes that read node `index`, in order; once for each time they read it.
  const std::vector<int>& readers(int index) const { return readers_[static_cast<std::size_t>(index)]; }
  const Node& node(int index) const { return nodes_[static_cast<std::size_t>(index)]; }

 private:
  std::vector<Node> nodes_;
  std::vector<int> inputs_, outputs_;
  std::vector<std::vector<int>> readers_;
};

}  // namespace nncore
