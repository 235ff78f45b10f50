// StoreUpdate: one step of an optimizer on a store of parameters.
#pragma once

#include <cstdint>
#include <span>

#include "nncore/parameters.hpp"
#include "optimizers.hpp"

namespace nncore {

/// The step after those of `state`, prepared. All arguments outlive it.
template <class T>
class StoreUpdate {
 public:
  StoreUpdate(const Optimizer& optimizer, OptimizerState<T>& state, Parameters<T>& store)
      : step_(optimizer, state.steps + 1), state_(state), store_(store) {}

  /// What a descent adds of its gradient to a segment; 0 where that is not all of the update.
  T descent(const Segment& segment) const;

  /// Updates those of the `segments` (increasing) that are trainable and not `updated` yet (empty: none is).
  void run(std::span<const int> segments, std::span<const char> updated) const;

 private:
  bool are_alike(const Segment& a, const Segment& b) const;
  void run_on(const Segment& like, std::int64_t offset, std::int64_t count) const;

  OptimizerStep<T> step_;
  OptimizerState<T>& state_;
  Parameters<T>& store_;
};

}  // namespace nncore
