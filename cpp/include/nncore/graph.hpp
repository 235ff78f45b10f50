// Graph: operations and how they feed each other. Immutable, in topological order; it holds no numbers.
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

/// The largest total width of a graph's nodes. Its product with a number of rows or bytes then fits in 64
/// bits whenever the values fit in memory.
inline constexpr std::int64_t kMostFeatures = std::int64_t{1} << 40;

/// One node of a graph: an input, or an operation on other nodes. Its value is a matrix (B, features).
struct Node {
  std::string name;                            ///< unique in the graph
  std::shared_ptr<const Operation> operation;  ///< null for an input of the graph
  std::vector<int> inputs;                     ///< indices of the nodes it reads
  std::int64_t features = 0;                   ///< width: set for an input, derived by Graph for others
  bool is_integer = false;                     ///< true for an input of integers (indices); no gradient
  /// Values of an integer input must be at least 0 and less than this; 0 for no limit. Derived by Graph.
  std::int64_t integers_below = 0;
};

/// Makes an input of `features` columns, of floats or of integers.
Node input_node(std::string name, std::int64_t features, bool is_integer = false);

/// One attribute of a node, such as "out_features", "transposed" or "negative_slope".
using Attribute = std::variant<bool, std::int64_t, double, std::string>;
/// The attributes of a node by name.
using Attributes = std::map<std::string, Attribute, std::less<>>;

/// Makes a node of any kind.
///
/// `segments` and `state` are indices into the segments and state segments of the parameter store, in the
/// order listed below. Nodes that name the same segments share them, as a shared layer does. Throws
/// std::invalid_argument, naming the node, if the kind is unknown or if the number of inputs, the segments or
/// the attributes do not fit it.
///
/// Kinds, with their segments and attributes (and defaults):
/// - dense: z = x weight^T + bias. Segments: weight (O, I), and bias (O) unless there is none. Attributes:
///   in_features, out_features, transposed (false). If transposed, z = x weight + bias with weight (I, O).
/// - add, subtract, multiply, concatenate: no segments and no attributes.
/// - batch_norm: segments weight (O) and bias (O), or none; state running mean (O) and variance (O).
///   Attributes: num_features, eps (1e-5), momentum (0.1).
/// - layer_norm: segments weight (O) and bias (O), or none. Attributes: normalized_shape, eps (1e-5).
/// - dropout: attribute p (0.5).
/// - embedding: segment table (N, D), stored by rows. Attributes: num_embeddings, embedding_dim.
/// - prelu: segment weight (1) or (O). Attribute: num_parameters.
/// - parameter: segment value (O), the value of every row. Attribute: features.
/// - the name of an activation. Attributes: the parameters of its entry, and order (0).
Node make_node(std::string_view kind, std::string name, std::vector<int> inputs,
               std::vector<int> segments = {}, std::vector<int> state = {},
               const Attributes& attributes = {});

/// An immutable graph of nodes in topological order. Any number of networks may share one.
class Graph {
 public:
  /// Checks the graph and derives widths. `outputs` are indices of nodes. Throws std::invalid_argument,
  /// naming the node, if
  /// - there are no nodes or no outputs, or an index is out of range,
  /// - a node reads itself or a later node (a cycle),
  /// - two nodes have the same name,
  /// - no output depends on a node,
  /// - widths do not fit, or their sum exceeds kMostFeatures,
  /// - a node reads integers where it needs floats, or the reverse, or an integer input is an output.
  Graph(std::vector<Node> nodes, std::vector<int> outputs);

  const std::vector<Node>& nodes() const { return nodes_; }
  /// The indices of the input nodes, in order.
  const std::vector<int>& inputs() const { return inputs_; }
  /// The indices of the output nodes, as given.
  const std::vector<int>& outputs() const { return outputs_; }
  /// The nodes that read node `index`, in order. A node that reads it twice is listed twice.
  const std::vector<int>& readers(int index) const { return readers_[static_cast<std::size_t>(index)]; }
  const Node& node(int index) const { return nodes_[static_cast<std::size_t>(index)]; }

 private:
  std::vector<Node> nodes_;
  std::vector<int> inputs_, outputs_;
  std::vector<std::vector<int>> readers_;
};

}  // namespace nncore
