// Products that stream weights from memory: one row of c, a few rows of b at a time.
#pragma once

#include "table.hpp"
#include "vec.hpp"

namespace {

/// The chains of one row of c over Depth rows of b, which are walked side by side, each from left to right:
/// as many streams as the processor's prefetching follows. (Measured: 23 GB/s where a tile at a time had 13.)
template <class T, int Depth>
NNCORE_INLINE void run_band(const nncore::kernels::TileCall<T>& call) {
  Vec<T> a[Depth];
#pragma GCC unroll 8
  for (int k = 0; k < Depth; ++k) a[k] = broadcast<T>(call.a[k * call.a_depth_stride]);
  const auto walk = [&](auto start) __attribute__((always_inline)) {
    for_each_vector<T>(call.columns, [&a, start, b = call.b, stride = call.b_depth_stride, c = call.c](
                                         auto load, auto store) __attribute__((always_inline)) {
      Vec<T> sum = start(load);
#pragma GCC unroll 8
      for (int k = 0; k < Depth; ++k) sum = fma(a[k], load(b + k * stride), sum);
      store(c, sum);
    });
  };
  if (call.resume)
    walk([c = call.c](auto load) __attribute__((always_inline)) { return load(c); });
  else if (call.bias != nullptr)
    walk([bias = call.bias](auto load) __attribute__((always_inline)) { return load(bias); });
  else
    walk([](auto) __attribute__((always_inline)) { return Vec<T>{}; });
}

template <class T>
void band(const nncore::kernels::TileCall<T>& call) {
  constexpr int kDepth = nncore::kernels::kBandDepth;
  if (call.depth == kDepth) return run_band<T, kDepth>(call);
  nncore::kernels::TileCall<T> one = call;
  for (int64_t k = 0; k < call.depth; ++k) {
    run_band<T, 1>(one);
    one.a += call.a_depth_stride;
    one.b += call.b_depth_stride;
    one.resume = true;
  }
}

template <class T>
constexpr void add_band_kernels(nncore::kernels::Kernels<T>& k) {
  k.band = band<T>;
}

}  // namespace
