// FusedSgd: the interface of an operation that can update a weight while its gradient is computed. Optional:
// training (training/sgd_fusion.hpp) asks each operation for it, and other operations need not know it.
#pragma once

#include <cstdint>

#include "nncore/operation.hpp"

namespace nncore {

/// All functions concern the operation's first segment and inputs[0].
template <class T>
class FusedSgd {
 public:
  virtual ~FusedSgd() = default;

  /// A bound on the magnitude of the segment's gradient over `rows` samples, from bounds on the magnitude of
  /// the input and of the gradient of the output. Valid for every optimizer.
  virtual double gradient_bound(std::int64_t rows, double largest_input,
                                double largest_grad_output) const = 0;
  /// Whether `step` can be used for batches of `rows` samples.
  virtual bool has_step(std::int64_t rows) const = 0;
  /// Whether `advance` can be used, for batches of one sample.
  virtual bool has_advance() const = 0;

  /// The operation's backward pass without the gradient of the segment, which one of the following computes
  /// later, from the same call.
  virtual void backward(const NodeCall<T>& call) const = 0;
  /// Stores the gradient.
  virtual void store_gradient(const NodeCall<T>& call) const = 0;
  /// segment += scale * gradient, without storing the gradient.
  virtual void step(const NodeCall<T>& call, T scale) const = 0;
  /// `step` and the operation's forward pass for `next_input`, the one sample of the next batch. All other
  /// segments must have been updated before.
  virtual void advance(const NodeCall<T>& call, T scale, const T* next_input) const = 0;
};

}  // namespace nncore
