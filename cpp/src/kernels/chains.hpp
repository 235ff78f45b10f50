// How a long sum is split: the one rule for matrix products and sums over rows.
#pragma once

#include <stdint.h>

namespace {

/// The terms of a sum are added one after the other in chains of at most this length, each from zero; the
/// chains are added in order. Rounding errors then grow with the length of a chain and the number of
/// chains, not with their product.
inline constexpr int64_t kMaxChain = 512;

/// The length of every chain but the last, which may be shorter: the fewest chains, balanced. It depends on
/// the length of the sum alone, so that no batch size, blocking or thread changes a bit.
constexpr int64_t chain_length(int64_t depth) {
  const int64_t chains = (depth + kMaxChain - 1) / kMaxChain;
  return chains > 1 ? (depth + chains - 1) / chains : depth;
}

}  // namespace
