// Arena: the memory of one running call, and where everything lies in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nncore/aligned_buffer.hpp"
#include "nncore/operation.hpp"
#include "runtime/thread_choice.hpp"

namespace nncore {

/// How a step changes a segment.
enum class UpdateWay : std::uint8_t {
  look,     ///< from its stored gradient, once that has been looked at
  bounded,  ///< from its stored gradient, which cannot be too large
  fused     ///< while its gradient is formed
};

/// A mean loss and what it is a mean over: the number of samples, or the sum of their weights.
struct WeightedLoss {
  double loss = 0.0;
  double weight = 0.0;
};

/// What a Workspace has. Between forward and backward it holds what backward needs.
template <class T>
struct Arena {
  AlignedBuffer<std::byte> memory;

  // Where things lie in the memory for the last batch. Per node:
  std::vector<Matrix<T>> values, gradients;
  std::vector<std::int64_t*> integers;
  // per edge of the plan:
  std::vector<Matrix<const T>> edge_values;
  std::vector<Matrix<T>> edge_gradients;
  std::vector<const std::int64_t*> edge_integers;
  std::vector<InputDerivative<T>> edge_derivatives;
  // per step of the plan, for backward:
  std::vector<Matrix<T>> kept_derivatives;
  std::vector<std::byte*> saved;
  // per loss term:
  std::vector<Matrix<T>> targets;
  std::vector<std::int64_t*> labels;
  std::vector<WeightedLoss> term_losses;  // of the last batch
  // those of the plan whose first segment's gradient is rather bounded than looked at
  std::vector<int> bounded_steps;
  // per segment of the store; empty where there are none of them
  std::vector<UpdateWay> ways;
  // per graph input: the largest magnitude in it
  std::vector<double> largest_input;

  std::vector<std::int64_t> rows;  ///< of the tables: those that take part, where some do not
  double* user_weight = nullptr;   ///< sample weights as they are given
  T* sample_weight = nullptr;      ///< the same, over the largest of them
  Scratch scratch;
  std::vector<Matrix<T>> own_outputs;  ///< where they lie while predict computes them elsewhere

  /// What the pointers above were laid out for. Plans are numbered from 1.
  struct Layout {
    std::uint64_t plan = 0;
    std::int64_t rows = 0;
    int workers = 0;  ///< num_threads() then
    bool gradients = false;
    bool operator==(const Layout&) const = default;
  };
  Layout layout;
  bool ran_forward = false;  ///< backward may follow
  bool training = false;     ///< of the last forward pass
  ThreadChoice step_threads;
};

}  // namespace nncore
