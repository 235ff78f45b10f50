// The rule of sums: the bits of a sum depend on its length alone.
#pragma once

#include <stdint.h>

namespace {

/// A sum over `depth` terms is split into chains of at most this length, which are added one after another.
inline constexpr int64_t kMaxChain = 1024;

constexpr int64_t chain_count(int64_t depth) { return (depth + kMaxChain - 1) / kMaxChain; }

/// The length of every chain of a sum except the last.
constexpr int64_t chain_length(int64_t depth) {
  return depth <= kMaxChain ? depth : (depth + chain_count(depth) - 1) / chain_count(depth);
}

}  // namespace
