// Operation: what a node does. Deriving from OperationOf adds a kind of node without touching the executor.
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

/// Memory that the threads of one call may write to as they like, a piece each.
struct Scratch {
  std::byte* data = nullptr;
  std::int64_t bytes_per_worker = 0;
  int workers = 0;
};

/// What the gradient of an input is multiplied by: the derivative of the activation that made the input.
template <class T>
struct InputDerivative {
  const Activation* activation = nullptr;  ///< null: nothing
  Matrix<const T> kept{};                  ///< the derivative itself; data null: computed from the input
};

/// What an operation sees of a running call: B rows of everything its node touches.
template <class T>
struct NodeCall {
  std::span<const Matrix<const T>> inputs;        ///< values of the nodes it reads, in order
  std::span<const std::int64_t* const> integers;  ///< (B, features) of integer inputs; null for the others
  Matrix<T> output;                               ///< forward writes it; backward reads it
  const Activation* fused = nullptr;  ///< forward: also apply this (only where fuses_activation())
  Matrix<T> fused_derivative{};       ///< forward: keep its derivative here; data null: nobody asks
  std::byte* saved = nullptr;         ///< saved_bytes() from forward to backward; null: no backward follows
  bool training = false;
  /// Where its random numbers are, for training: a function of these, the node's number, the row and the
  /// column.
  std::uint64_t seed = 0, random_step = 0;
  int node = 0;
  std::int64_t first_row = 0;  ///< the place of the first row in the whole batch
  bool finite_values = false;  ///< forward: all values of the store are known to be finite

  // Backward only.
  Matrix<const T> grad_output{};
  std::span<const Matrix<T>> grad_inputs{};                ///< data null where nobody asks
  std::span<const char> accumulate_input{};                ///< add, instead of replacing
  std::span<const InputDerivative<T>> input_derivative{};  ///< only where fuses_activation()
  std::span<const char> accumulate_segment{};              ///< parallel to segments()

  Parameters<T>* parameters = nullptr;
  Scratch scratch{};

  /// The elements of a segment, for reading; those of its gradient.
  const T* value(int segment) const { return std::as_const(*parameters).value(segment).data; }
  T* gradient(int segment) const { return parameters->gradient(segment).data; }
};

class Operation {
 public:
  virtual ~Operation() = default;

  /// The file-format name: "dense", "tanh", "add", ...
  virtual const char* kind() const = 0;
  /// The width of the result; throws std::invalid_argument where the widths do not fit.
  virtual std::int64_t out_features(std::span<const std::int64_t> in_features) const = 0;
  /// The parameters it reads: segments of the store, and of the store's non-trained state.
  virtual std::span<const int> segments() const { return {}; }
  virtual std::span<const int> state_segments() const { return {}; }
  /// Throws std::invalid_argument where the store's segments, or those of its state, do not have the shapes
  /// it needs.
  virtual void check_segments(std::span<const Segment>) const {}
  virtual void check_state(std::span<const Segment>) const {}
  virtual bool reads_integers() const { return false; }
  /// Integers that it reads are at least 0 and less than this; 0: they may be any.
  virtual std::int64_t integers_below() const { return 0; }
  /// The fewest rows of a batch that it can be trained on.
  virtual std::int64_t fewest_training_rows() const { return 1; }
  /// Whether forward can apply an elementwise activation to its result, and backward that of its input.
  virtual bool fuses_activation() const { return false; }
  /// Null, but for the library's own operations that can change a weight while its gradient is formed. The
  /// argument's type counts.
  virtual const FusedSgd<float>* fused_sgd(float) const { return nullptr; }
  virtual const FusedSgd<double>* fused_sgd(double) const { return nullptr; }
  /// Which activation it is, if it is one.
  virtual std::optional<Activation> activation() const { return std::nullopt; }
  /// Bytes that forward leaves for backward, beside inputs and output, for a batch of `rows` and an output of
  /// that many features, of sizeof(T) bytes each.
  virtual std::int64_t saved_bytes(std::int64_t /*rows*/, std::int64_t /*features*/,
                                   std::int64_t /*scalar_size*/) const {
    return 0;
  }
  /// Bytes of scratch that each worker needs, likewise.
  virtual std::int64_t scratch_bytes(std::int64_t /*rows*/, std::int64_t /*features*/) const { return 0; }

  virtual void forward(const NodeCall<float>& call) const = 0;
  virtual void forward(const NodeCall<double>& call) const = 0;
  virtual void backward(const NodeCall<float>& call) const = 0;
  virtual void backward(const NodeCall<double>& call) const = 0;

  /// Of operations with state, after a forward pass for training: whether what commit would write is finite,
  /// and writes it. A step that is not made commits nothing.
  virtual bool can_commit(const NodeCall<float>&) const { return true; }
  virtual bool can_commit(const NodeCall<double>&) const { return true; }
  virtual void commit(const NodeCall<float>&) const {}
  virtual void commit(const NodeCall<double>&) const {}
};

/// Derived writes each pass once, as a template: compute_forward<T>(call), compute_backward<T>(call).
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
