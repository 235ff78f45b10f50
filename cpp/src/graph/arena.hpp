// Arena: the memory of one running call, and the layout of the arrays in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nncore/aligned_buffer.hpp"
#include "nncore/operation.hpp"
#include "runtime/thread_choice.hpp"

namespace nncore {

/// How a step updates a segment.
enum class UpdateWay : std::uint8_t {
  look,     ///< from its stored gradient, after checking all of it
  bounded,  ///< from its stored gradient, which a bound shows to be small enough
  fused     ///< while its gradient is computed
};

/// A mean loss, and its denominator: the number of samples, or the sum of their weights.
struct WeightedLoss {
  double loss = 0.0;
  double weight = 0.0;
};

/// The contents of a Workspace. Between forward and backward it holds what backward needs.
template <class T>
struct Arena {
  AlignedBuffer<std::byte> memory;

  // Where the arrays of the last batch lie in `memory`. Per node:
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
  // the steps whose first segment's gradient takes fewer reads to bound than to check
  std::vector<int> bounded_steps;
  // per segment of the store; empty if there are no bounded steps
  std::vector<UpdateWay> ways;
  // per graph input: the largest magnitude in it
  std::vector<double> largest_input;

  AlignedBuffer<T> gradients_before;  ///< a copy from before a long backward pass, which may end early

  std::vector<std::int64_t> rows;  ///< the rows of the tables that take part, if some do not
  double* user_weight = nullptr;   ///< sample weights as given
  T* sample_weight = nullptr;      ///< the same, divided by the largest
  Scratch scratch;
  std::vector<Matrix<T>> own_outputs;  ///< their own places while predict computes them elsewhere

  /// What the pointers above were laid out for. Plans are numbered from 1.
  struct Layout {
    std::uint64_t plan = 0;
    std::int64_t rows = 0;
    int workers = 0;  ///< num_threads() at that time
    bool gradients = false;
    bool operator==(const Layout&) const = default;
  };
  Layout layout;
  bool ran_forward = false;  ///< backward may follow
  bool training = false;     ///< of the last forward pass
  ThreadChoice step_threads;
};

}  // namespace nncore
