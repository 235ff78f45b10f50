// FusedSgd: what an operation offers that can change a weight while its gradient is formed. Optional:
// training (training/sgd_fusion.hpp) asks an operation for it, and no other operation needs to know.
#pragma once

#include <cstdint>

#include "nncore/operation.hpp"

namespace nncore {

/// All of it is about the operation's first segment and inputs[0].
template <class T>
class FusedSgd {
 public:
  virtual ~FusedSgd() = default;

  /// What no gradient of the segment exceeds over `rows` samples, where nothing in the input and in the
  /// gradient of the output does these. Whatever the optimizer is.
  virtual double gradient_bound(std::int64_t rows, double largest_input,
                                double largest_grad_output) const = 0;
  /// Whether `step` is for batches of that many samples.
  virtual bool has_step(std::int64_t rows) const = 0;
  /// Whether `advance` is for batches of one sample.
  virtual bool has_advance() const = 0;

  /// The operation's backward but for the gradient of the segment. One of the following then makes it, and is
  /// given the same call.
  virtual void backward(const NodeCall<T>& call) const = 0;
  /// Stores the gradient.
  virtual void store_gradient(const NodeCall<T>& call) const = 0;
  /// segment += scale gradient, which is not stored.
  virtual void step(const NodeCall<T>& call, T scale) const = 0;
  /// After all other segments have been updated: step, and the operation's forward for the one sample
  /// `next_input` of the next batch.
  virtual void advance(const NodeCall<T>& call, T scale, const T* next_input) const = 0;
};

}  // namespace nncore
