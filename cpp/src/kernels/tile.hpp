// Micro-kernels of the matrix product: one small block of the result, held in registers.
//
//   c (R x N)  =  bias + a (R x depth) b (depth x N)        N: up to V registers of columns
//
//   for k:  load row k of b into V registers; for each of R rows: broadcast a(r, k), V fmas
//
// R x V accumulators must be enough to hide the latency of an fma and few enough for the register file.
// Narrow results use taller shapes; products of few rows use wider ones. The left operand is read in place
// through its two strides, so that one kernel serves X W^T, D W and D^T X.
#pragma once

#include "table.hpp"
#include "vec.hpp"

namespace {

#if NNCORE_VECTOR_BYTES == 64 || defined(NNCORE_KERNELS_NEON)
inline constexpr int kPanelVectors = 4;  // 32 registers
inline constexpr int kTileRows[nncore::kernels::kMaxTileVectors] = {12, 12, 8, 6, 4, 4, 3, 3};
#elif NNCORE_VECTOR_BYTES == 32
inline constexpr int kPanelVectors = 2;  // 16 registers
inline constexpr int kTileRows[nncore::kernels::kMaxTileVectors] = {12, 6, 4, 2, 2, 1, 1, 1};
#else
inline constexpr int kPanelVectors = 2;  // an emulated fma needs registers of its own
inline constexpr int kTileRows[nncore::kernels::kMaxTileVectors] = {4, 4, 1, 1, 1, 1, 1, 1};
#endif

/// How many rows ahead a packing tile prefetches b.
inline constexpr int64_t kRowsAhead = 16;

template <class T, int Rows, int Vectors, bool Partial, bool Packs = false>
NNCORE_INLINE void run_tile(const nncore::kernels::TileCall<T>& call) {
  constexpr int lanes = kLanes<T>;
  const int rest = static_cast<int>(call.columns - (Vectors - 1) * lanes);
  const auto load_row = [rest](const T* row, int v) __attribute__((always_inline)) {
    if constexpr (Partial)
      return v == Vectors - 1 ? load_first(row + v * lanes, rest) : load(row + v * lanes);
    else
      return load(row + v * lanes);
  };
  const auto store_row = [rest](T* row, int v, Vec<T> value) __attribute__((always_inline)) {
    if (Partial && v == Vectors - 1)
      store_first(row + v * lanes, value, rest);
    else
      store(row + v * lanes, value);
  };

  Vec<T> sum[Rows][Vectors];
  const auto for_each_sum = [&sum](auto body) __attribute__((always_inline)) {
#pragma GCC unroll 12
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) body(r, v, sum[r][v]);
    }
  };
  T* const c = call.c;
  const int64_t c_row_stride = call.c_row_stride;
  if (call.resume) {
    for_each_sum([=](int r, int v, Vec<T>& s)
                     __attribute__((always_inline)) { s = load_row(c + r * c_row_stride, v); });
  } else if (call.bias != nullptr) {
    for_each_sum([=, bias = call.bias](int, int v, Vec<T>& s)
                     __attribute__((always_inline)) { s = load_row(bias, v); });
  } else {
    for_each_sum([](int, int, Vec<T>& s) __attribute__((always_inline)) { s = Vec<T>{}; });
  }

  // One pointer serves three rows (p, p + stride, p + 2 stride), so that the integer registers suffice.
  const T* a[(Rows + 2) / 3];
#pragma GCC unroll 4
  for (int group = 0; group < (Rows + 2) / 3; ++group) a[group] = call.a + 3 * group * call.a_row_stride;
  const T* b = call.b;
  T* panel = call.panel;
  const T* ahead = call.ahead != nullptr ? call.ahead : call.b;
  const int64_t ahead_stride = call.ahead != nullptr ? call.ahead_stride : 0;
  for (int64_t k = 0; k < call.depth; ++k) {
    Vec<T> row[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) row[v] = load_row(b, v);
    if constexpr (Packs) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        __builtin_prefetch(b + kRowsAhead * call.b_depth_stride + v * lanes);
        store(panel + v * lanes, row[v]);
      }
      panel += Vectors * lanes;
    } else if constexpr (Vectors == kPanelVectors) {
      __builtin_prefetch(ahead, 0, 2);
      ahead += ahead_stride;
    }
#pragma GCC unroll 12
    for (int r = 0; r < Rows; ++r) {
      const Vec<T> left = broadcast<T>(a[r / 3][(r % 3) * call.a_row_stride]);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sum[r][v] = fma(left, row[v], sum[r][v]);
    }
#pragma GCC unroll 4
    for (int group = 0; group < (Rows + 2) / 3; ++group) a[group] += call.a_depth_stride;
    b += call.b_depth_stride;
  }

  if (call.add) {
    for_each_sum([=, scale = call.scale](int r, int v, Vec<T>& s) __attribute__((always_inline)) {
      store_row(c + r * c_row_stride, v, load_row(c + r * c_row_stride, v) + scale * s);
    });
  } else {
    for_each_sum([=](int r, int v, Vec<T>& s)
                     __attribute__((always_inline)) { store_row(c + r * c_row_stride, v, s); });
  }
}

template <class T, int Rows, int Vectors>
void tile(const nncore::kernels::TileCall<T>& call) {
  // AVX-512 masks loads at no cost; other sets have a separate body for whole panels.
  if (NNCORE_VECTOR_BYTES == 64 || call.columns != Vectors * kLanes<T>) {
    run_tile<T, Rows, Vectors, true>(call);
  } else {
    run_tile<T, Rows, Vectors, false>(call);
  }
}

template <class T, int Rows>
void packing_tile(const nncore::kernels::TileCall<T>& call) {
  run_tile<T, Rows, kPanelVectors, false, true>(call);
}

template <class T, int Rows>
constexpr void add_packing_tiles(nncore::kernels::Kernels<T>& k) {
  if constexpr (Rows > 0) {
    k.packing_tile[Rows - 1] = packing_tile<T, Rows>;
    add_packing_tiles<T, Rows - 1>(k);
  }
}

template <class T, int Vectors, int Rows>
constexpr void add_tiles_of_width(nncore::kernels::Kernels<T>& k) {
  if constexpr (Rows > 0) {
    k.tile[Vectors - 1][Rows - 1] = tile<T, Rows, Vectors>;
    add_tiles_of_width<T, Vectors, Rows - 1>(k);
  }
}

template <class T, int Vectors>
constexpr void add_tiles(nncore::kernels::Kernels<T>& k) {
  if constexpr (Vectors > 0) {
    k.tile_rows[Vectors - 1] = kTileRows[Vectors - 1];
    add_tiles_of_width<T, Vectors, kTileRows[Vectors - 1]>(k);
    add_tiles<T, Vectors - 1>(k);
  }
}

template <class T>
constexpr void add_tile_kernels(nncore::kernels::Kernels<T>& k) {
  k.panel_vectors = kPanelVectors;
  add_tiles<T, nncore::kernels::kMaxTileVectors>(k);
  add_packing_tiles<T, kTileRows[kPanelVectors - 1]>(k);
}

}  // namespace
