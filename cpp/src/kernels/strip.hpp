// Products of a single row that stream the weight, a few rows of b at a time.
#pragma once

#include "table.hpp"
#include "vec.hpp"

namespace {

/// The chains of one row of c over Depth rows of b. The rows of b are read side by side, each from left to
/// right, because hardware prefetching follows that many streams; see "Tuning measurements" in
/// docs/performance.md.
template <class T, int Depth>
NNCORE_INLINE void run_band(const nncore::kernels::StripCall<T>& call, int first) {
  Vec<T> factors[Depth + 1];
  const T* rows[Depth + 1];
#pragma GCC unroll 8
  for (int k = 0; k < Depth; ++k) {
    factors[k] = broadcast<T>(call.factors[first + k]);
    rows[k] = call.rows[first + k];
  }
  const auto walk = [&](auto start) __attribute__((always_inline)) {
    for_each_vector<T>(call.columns, [&factors, &rows, start, c = call.c](auto load, auto store)
                                         __attribute__((always_inline)) {
                                           Vec<T> sum = start(load);
#pragma GCC unroll 8
                                           for (int k = 0; k < Depth; ++k)
                                             sum = fma(factors[k], load(rows[k]), sum);
                                           store(c, sum);
                                         });
  };
  if (call.resume || first > 0)
    walk([c = call.c](auto load) __attribute__((always_inline)) { return load(c); });
  else if (call.bias != nullptr)
    walk([bias = call.bias](auto load) __attribute__((always_inline)) { return load(bias); });
  else
    walk([](auto) __attribute__((always_inline)) { return Vec<T>{}; });
}

template <class T>
void strip(const nncore::kernels::StripCall<T>& call) {
  static_assert(nncore::kernels::kStripDepth == 8);
  if (call.depth == 8) return run_band<T, 8>(call, 0);
  if (call.depth == 0) return run_band<T, 0>(call, 0);
  int first = 0;
  if (call.depth & 4) run_band<T, 4>(call, 0), first = 4;
  if (call.depth & 2) run_band<T, 2>(call, first), first += 2;
  if (call.depth & 1) run_band<T, 1>(call, first);
}

template <class T>
constexpr void add_strip_kernels(nncore::kernels::Kernels<T>& k) {
  k.strip = strip<T>;
}

}  // namespace
