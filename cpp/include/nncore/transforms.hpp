// Transforms: changes of gradients between backward and the update of a step, and actions after the update.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "nncore/optimizers.hpp"
#include "nncore/parameters.hpp"

namespace nncore {

/// The arguments of a transform.
template <class T>
struct TransformCall {
  Parameters<T>& parameters;
  OptimizerState<T>& state;
  std::span<const int> segments;  ///< increasing indices; the step updates the trainable ones

  /// Calls body(offset, count) for each range of the flat arrays that the step updates. Adjacent segments
  /// form one range.
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

/// Changes the gradients of a step, or follows the parameters. A step with transforms stores all of its
/// gradients. Gradients are checked after all transforms, so the step is still made whole or not at all.
class Transform {
 public:
  virtual ~Transform() = default;

  /// The name of a slot in the optimizer's state with one element per parameter, or null for none. It starts
  /// as a copy of the parameters before the first step with the transform.
  virtual const char* slot() const { return nullptr; }

  /// Called between backward and the update. May change the gradients of the segments that the step updates,
  /// and nothing else.
  virtual void change_gradients(const TransformCall<float>&) const {}
  virtual void change_gradients(const TransformCall<double>&) const {}
  /// Called after the update. Must not throw.
  virtual void follow(const TransformCall<float>&) const {}
  virtual void follow(const TransformCall<double>&) const {}
};

/// Transforms in the order in which they run.
using Transforms = std::span<const std::shared_ptr<const Transform>>;

/// Scales the gradients of a step by max_norm / norm if their joint Euclidean norm exceeds max_norm. The norm
/// is computed in float64 over fixed blocks. Throws std::invalid_argument unless max_norm is finite and
/// greater than 0.
std::shared_ptr<const Transform> clip_by_global_norm(double max_norm);

/// Clips each gradient to [-limit, limit]. Throws std::invalid_argument unless limit is finite and greater
/// than 0.
std::shared_ptr<const Transform> clip_by_value(double limit);

/// Keeps a moving average of the parameters in the slot "average": average = decay average + (1 - decay) p
/// after each step. Throws std::invalid_argument unless decay is at least 0 and less than 1.
std::shared_ptr<const Transform> moving_average(double decay);

/// Creates the slots of transforms that do not exist yet. Throws std::invalid_argument if two transforms use
/// the same slot or the state has another number of parameters.
template <class T>
void prepare_slots(Transforms transforms, OptimizerState<T>& state, const Parameters<T>& parameters);

}  // namespace nncore
