// Transforms: what stands between backward and the update of a step, and after the update.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "nncore/optimizers.hpp"
#include "nncore/parameters.hpp"

namespace nncore {

/// What a transform sees of a step.
template <class T>
struct TransformCall {
  Parameters<T>& parameters;
  OptimizerState<T>& state;
  std::span<const int> segments;  ///< increasing: those that the step changes are the trainable ones of them

  /// body(offset, count) for each piece of the flat arrays that the step changes; neighbours are one piece.
  template <class Body>
  void for_each_piece(Body body) const {
    std::int64_t begin = 0, end = 0;
    for (const int index : segments) {
      const Segment& segment = parameters.segments()[static_cast<std::size_t>(index)];
      if (!segment.trainable) continue;
      const std::int64_t offset = parameters.offset(index);
      if (offset != end) {
        if (end > begin) body(begin, end - begin);
        begin = offset;
      }
      end = offset + segment.size();
    }
    if (end > begin) body(begin, end - begin);
  }
};

/// May change the gradients of a step, or follow the parameters. A step with transforms stores all of its
/// gradients. Whatever a transform does, a step is made whole or not at all: gradients are looked at after
/// it.
class Transform {
 public:
  virtual ~Transform() = default;

  /// The array of the parameters' length that it keeps in the optimizer's state; null: none. It starts as the
  /// parameters are before the first step with the transform.
  virtual const char* slot() const { return nullptr; }

  /// Between backward and the update: may change the gradients of what the step changes, and nothing else.
  virtual void change_gradients(const TransformCall<float>&) const {}
  virtual void change_gradients(const TransformCall<double>&) const {}
  /// Once the step is made; does not throw.
  virtual void follow(const TransformCall<float>&) const {}
  virtual void follow(const TransformCall<double>&) const {}
};

using Transforms = std::span<const std::shared_ptr<const Transform>>;

/// g *= max_norm / norm where the norm of all gradients of the step is larger than max_norm: the square root
/// of their sum of squares, in float64 over fixed blocks. Throws std::invalid_argument unless max_norm is
/// finite and above 0.
std::shared_ptr<const Transform> clip_by_global_norm(double max_norm);

/// Each gradient into [-limit, limit]. Throws std::invalid_argument unless the limit is finite and above 0.
std::shared_ptr<const Transform> clip_by_value(double limit);

/// After each step, average = decay average + (1 - decay) p, in the slot `average`. Throws
/// std::invalid_argument unless the decay is at least 0 and less than 1.
std::shared_ptr<const Transform> moving_average(double decay);

/// Makes the slots of transforms that are not there yet. Throws std::invalid_argument where two transforms
/// want the same, or the state is of another number of parameters.
template <class T>
void prepare_slots(Transforms transforms, OptimizerState<T>& state, const Parameters<T>& parameters);

}  // namespace nncore
