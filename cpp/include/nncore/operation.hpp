// Operation: what a node computes. To add a kind of node, derive from OperationOf; the executor stays as it
// is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "nncore/activations.hpp"
#include "nncore/matrix.hpp"
#include "nncore/parameters.hpp"

namespace nncore {

template <class T>
class FusedSgd;

/// Temporary memory of one call, with a separate piece for each worker thread.
struct Scratch {
  std::byte* data = nullptr;
  std::int64_t bytes_per_worker = 0;
  int workers = 0;
};

/// A factor of the gradient of an input: the derivative of the activation that produced the input.
template <class T>
struct InputDerivative {
  const Activation* activation = nullptr;  ///< null for no factor
  Matrix<const T> kept{};  ///< the derivative; if its data is null, compute it from the input's value
};

/// The arguments of forward and backward: B rows of every value that the node reads or writes.
template <class T>
struct NodeCall {
  std::span<const Matrix<const T>> inputs;        ///< values (B, features) of the nodes it reads, in order
  std::span<const std::int64_t* const> integers;  ///< (B, features) for integer inputs, null for others
  Matrix<T> output;                               ///< written by forward, read by backward
  const Activation* fused = nullptr;  ///< activation that forward applies; only if fuses_activation()
  Matrix<T> fused_derivative{};       ///< where forward stores its derivative, unless the data is null
  std::byte* saved = nullptr;         ///< saved_bytes() for forward to fill; null if no backward follows
  bool training = false;
  /// In training, random numbers are a function of seed, random_step, node, row in the batch and column.
  std::uint64_t seed = 0, random_step = 0;
  int node = 0;
  std::int64_t first_row = 0;  ///< index of the first row in the whole batch
  bool finite_values = false;  ///< forward: whether all values of the store are known to be finite

  // Backward only.
  Matrix<const T> grad_output{};
  std::span<const Matrix<T>> grad_inputs{};                ///< data is null for gradients not needed
  std::span<const char> accumulate_input{};                ///< whether to add to each of grad_inputs
  std::span<const InputDerivative<T>> input_derivative{};  ///< only if fuses_activation()
  std::span<const char> accumulate_segment{};  ///< whether to add to the gradient of each of segments()

  Parameters<T>* parameters = nullptr;
  Scratch scratch{};

  /// The elements of a segment, read-only.
  const T* value(int segment) const { return std::as_const(*parameters).value(segment).data; }
  /// The elements of a segment's gradient.
  T* gradient(int segment) const { return parameters->gradient(segment).data; }
};

/// What a node computes: its width, its forward and backward pass, and the segments that it uses. Immutable.
class Operation {
 public:
  virtual ~Operation() = default;

  /// The name of the kind in files: "dense", "tanh", "add", ...
  virtual const char* kind() const = 0;
  /// The width of the output. Throws std::invalid_argument if the widths of the inputs do not fit.
  virtual std::int64_t out_features(std::span<const std::int64_t> in_features) const = 0;
  /// Indices of the store's segments that it reads.
  virtual std::span<const int> segments() const { return {}; }
  /// Indices of the store's state segments that it reads.
  virtual std::span<const int> state_segments() const { return {}; }
  /// Throws std::invalid_argument unless the store's segments have the shapes that it needs.
  virtual void check_segments(std::span<const Segment>) const {}
  /// The same for the store's state segments.
  virtual void check_state(std::span<const Segment>) const {}
  /// Whether it reads an integer input.
  virtual bool reads_integers() const { return false; }
  /// The integers that it reads must be at least 0 and less than this; 0 for no limit.
  virtual std::int64_t integers_below() const { return 0; }
  /// The smallest batch that it can be trained on.
  virtual std::int64_t fewest_training_rows() const { return 1; }
  /// Whether forward can apply an elementwise activation to its output, and backward can multiply by the
  /// derivative of the activation that produced its input.
  virtual bool fuses_activation() const { return false; }
  /// Not null for the library's own operations that can update a weight while computing its gradient. The
  /// argument selects the precision; its value is ignored.
  virtual const FusedSgd<float>* fused_sgd(float) const { return nullptr; }
  virtual const FusedSgd<double>* fused_sgd(double) const { return nullptr; }
  /// The activation that the operation computes, if it is one.
  virtual std::optional<Activation> activation() const { return std::nullopt; }
  /// Bytes that forward saves for backward in addition to inputs and output, for a batch of `rows` and an
  /// output of `features` elements of `scalar_size` bytes.
  virtual std::int64_t saved_bytes(std::int64_t /*rows*/, std::int64_t /*features*/,
                                   std::int64_t /*scalar_size*/) const {
    return 0;
  }
  /// Bytes of scratch that each worker needs for such a batch.
  virtual std::int64_t scratch_bytes(std::int64_t /*rows*/, std::int64_t /*features*/) const { return 0; }

  /// Computes the output and, if a backward pass follows, fills `saved`.
  virtual void forward(const NodeCall<float>& call) const = 0;
  virtual void forward(const NodeCall<double>& call) const = 0;
  /// Computes the gradients of inputs and segments from that of the output.
  virtual void backward(const NodeCall<float>& call) const = 0;
  virtual void backward(const NodeCall<double>& call) const = 0;

  /// For operations with state, after a training forward pass: whether the new state is finite.
  virtual bool can_commit(const NodeCall<float>&) const { return true; }
  virtual bool can_commit(const NodeCall<double>&) const { return true; }
  /// Writes the new state to the store; called once the pass or step has succeeded.
  virtual void commit(const NodeCall<float>&) const {}
  virtual void commit(const NodeCall<double>&) const {}
};

/// Base class of operations that write each pass once, as the member templates compute_forward<T>(call) and
/// compute_backward<T>(call) of Derived.
template <class Derived>
class OperationOf : public Operation {
 public:
  void forward(const NodeCall<float>& call) const final { self().template compute_forward<float>(call); }
  void forward(const NodeCall<double>& call) const final { self().template compute_forward<double>(call); }
  void backward(const NodeCall<float>& call) const final { self().template compute_backward<float>(call); }
  void backward(const NodeCall<double>& call) const final { self().template compute_backward<double>(call); }

 private:
  const Derived& self() const { return static_cast<const Derived&>(*this); }
};

}  // namespace nncore
