// Workspace: the arena of one running call.
#pragma once

#include <cstdint>
#include <vector>

#include "nncore/aligned_buffer.hpp"
#include "nncore/matrix.hpp"

namespace nncore {

/// Memory that a network's calls reuse: it grows to the largest batch seen and then stays. One call at a time
/// may use it; what it holds between forward and backward is the network's business.
template <class T>
struct Workspace {
  AlignedBuffer<std::byte> arena;
  std::vector<Matrix<T>> values, gradients;  ///< one per node: activations, dL/d(them)
  std::vector<std::int64_t*> integers;       ///< one per node: gathered integer inputs
  std::vector<Matrix<T>> targets;            ///< one per loss term
  std::vector<std::int64_t*> labels;         ///< one per loss term, where it takes class indices
  T* sample_weight = nullptr;
  std::byte* scratch = nullptr;  ///< packed panels of the threads
  std::int64_t rows = 0;         ///< of the last forward; 0: none
  std::uint64_t owner = 0;       ///< which network's plan the pointers belong to
};

}  // namespace nncore
