// The rule of sums: what makes the bits of a sum depend on its length alone.
#pragma once

#include <stdint.h>

namespace {

/// A sum over `depth` terms is split into chains of at most this many, added up one after the other.
inline constexpr int64_t kMaxChain = 1024;

constexpr int64_t chain_count(int64_t depth) { return (depth + kMaxChain - 1) / kMaxChain; }

/// All chains of a sum but the last have this length.
constexpr int64_t chain_length(int64_t depth) {
  return depth <= kMaxChain ? depth : (depth + chain_count(depth) - 1) / chain_count(depth);
}

}  // namespace
