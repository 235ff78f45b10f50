// Micro-kernels of products whose left operand has many zeros, which the chains skip.
//
//   for each row r:  for k with a(r, k) != 0:  broadcast a(r, k), V fmas with row k of b, from the L1 cache
//
// fma(0, b, sum) is sum for every finite b, unless sum is -0: then it may be +0. So the caller makes sure
// that b is finite, and a row with sums that end as -0 is left to the tiles of tile.hpp. The two ways differ
// only in the sign of such a sum: -0 is the rounded sum of nothing but zeros and underflow.
#pragma once

#include "table.hpp"
#include "vec.hpp"

namespace {

/// Bit k is set if element k is not zero.
template <class T>
NNCORE_INLINE uint64_t nonzero_bits(const T* row, int64_t count) {
  constexpr int lanes = kLanes<T>;
  uint64_t bits = 0;
  if (count == nncore::kernels::kSparseDepth) {
#pragma GCC unroll 32
    for (int k = 0; k < nncore::kernels::kSparseDepth; k += lanes) bits |= nonzero_lanes(load(row + k)) << k;
    return bits;
  }
  for (int64_t k = 0; k < count; k += lanes) {
    const int64_t left = count - k;
    const Vec<T> values = left >= lanes ? load(row + k) : load_first(row + k, static_cast<int>(left));
    bits |= nonzero_lanes(values) << k;
  }
  return bits;
}

template <class T>
inline constexpr Int<T> kMinusZero = Int<T>{1} << (8 * sizeof(T) - 1);

template <class T, int Vectors>
NNCORE_INLINE bool has_minus_zero(const Vec<T> (&sum)[Vectors]) {
  IntVec<T> found{};
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) found |= bit_cast<IntVec<T>>(sum[v]) == kMinusZero<T>;
  return nonzero_lanes(bit_cast<Vec<T>>(found)) != 0;  // a match has all bits set: NaN, which is not zero
}

template <class T, int Vectors>
int64_t sparse_tile(const nncore::kernels::SparseCall<T>& call, int64_t rows) {
  constexpr int lanes = kLanes<T>;
  const int rest = static_cast<int>(call.columns - (Vectors - 1) * lanes);
  const auto load_row = [rest](const T* row, int v) __attribute__((always_inline)) {
    return v < Vectors - 1 || rest == lanes ? load(row + v * lanes) : load_first(row + v * lanes, rest);
  };
  const auto store_row = [rest](T* row, int v, Vec<T> value) __attribute__((always_inline)) {
    if (v < Vectors - 1 || rest == lanes)
      store(row + v * lanes, value);
    else
      store_first(row + v * lanes, value, rest);
  };
  const T* const b = call.b;
  uint64_t next_steps = nonzero_bits(call.a, call.depth);
  for (int64_t r = 0; r < rows; ++r) {
    const T* const a = call.a + r * call.a_row_stride;
    T* const sums = call.sums + r * call.sums_row_stride;
    if (r < call.ahead_rows) {
      const T* const ahead = call.ahead + r * call.ahead_stride;
      for (int64_t j = 0; j < call.ahead_columns; j += 64 / int64_t{sizeof(T)})
        __builtin_prefetch(ahead + j, 0, 2);
    }
    for (int64_t k = 0; k < call.depth; k += 64 / int64_t{sizeof(T)})
      __builtin_prefetch(a + 3 * call.a_row_stride + k);
    uint64_t steps = next_steps;
    if (r + 1 < rows) next_steps = nonzero_bits(a + call.a_row_stride, call.depth);
    Vec<T> sum[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v)
      sum[v] = call.resume ? load_row(sums, v) : call.bias != nullptr ? load_row(call.bias, v) : Vec<T>{};
#pragma GCC unroll 1
    while (steps != 0) {
      const int64_t k = __builtin_ctzll(steps);
      steps &= steps - 1;
      const Vec<T> left = load_broadcast(a + k);
      const T* const row = b + k * (Vectors * lanes);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sum[v] = fma(left, load(row + v * lanes), sum[v]);
    }
    if (!call.ends) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) store_row(sums, v, sum[v]);
      continue;
    }
    if (has_minus_zero<T, Vectors>(sum)) return r;
    T* const c = call.c + r * call.c_row_stride;
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v)
      store_row(c, v, call.add ? load_row(c, v) + call.scale * sum[v] : sum[v]);
  }
  return rows;
}

/// Unless Whole, only `rest` columns of the last vector exist.
template <class T, int Vectors, bool Whole>
NNCORE_INLINE void run_sparse_row(const nncore::kernels::SparseRowCall<T>& call) {
  constexpr int lanes = kLanes<T>;
  const int rest = Whole ? lanes : static_cast<int>(call.columns - (Vectors - 1) * lanes);
  const auto load_row = [rest](const T* row, int v) __attribute__((always_inline)) {
    return Whole || v < Vectors - 1 ? load(row + v * lanes) : load_first(row + v * lanes, rest);
  };
  const int64_t b_row_stride = call.b_row_stride;
  Vec<T> sum[Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) sum[v] = call.bias != nullptr ? load_row(call.bias, v) : Vec<T>{};
  for (int64_t first = 0; first < call.depth; first += nncore::kernels::kSparseDepth) {
    const T* const a = call.a + first;
    const T* const b = call.b + first * b_row_stride;
    const int64_t left = call.depth - first, depth = nncore::kernels::kSparseDepth;
    uint64_t steps = nonzero_bits(a, left < depth ? left : depth);
#pragma GCC unroll 1
    while (steps != 0) {
      const int64_t k = __builtin_ctzll(steps);
      steps &= steps - 1;
      const Vec<T> factor = load_broadcast(a + k);
      const T* const row = b + k * b_row_stride;
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sum[v] = fma(factor, load_row(row, v), sum[v]);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) {
    if (Whole || v < Vectors - 1)
      store(call.sums + v * lanes, sum[v]);
    else
      store_first(call.sums + v * lanes, sum[v], rest);
  }
}

template <class T, int Vectors>
void sparse_row(const nncore::kernels::SparseRowCall<T>& call) {
  if (call.columns == Vectors * kLanes<T>)
    run_sparse_row<T, Vectors, true>(call);
  else
    run_sparse_row<T, Vectors, false>(call);
}

/// Zero times each element adds up to zero, or to NaN if one is not finite. `count` is a multiple of the
/// lanes.
template <class T>
bool all_finite(const T* values, int64_t count) {
  constexpr int lanes = kLanes<T>;
  Vec<T> sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sum[v] += load(values + i + v * lanes) * Vec<T>{};
  }
  for (; i < count; i += lanes) sum[0] += load(values + i) * Vec<T>{};
  return nonzero_lanes(sum[0] + sum[1] + sum[2] + sum[3]) == 0;
}

template <class T>
bool has_minus_zero(const T* values, int64_t count) {
  IntVec<T> found{};
  for_each_vector<T>(count, [&found, values](auto load, auto) __attribute__((always_inline)) {
    found |= bit_cast<IntVec<T>>(load(values)) == kMinusZero<T>;
  });
  return nonzero_lanes(bit_cast<Vec<T>>(found)) != 0;  // a match has all bits set: NaN, which is not zero
}

template <class T>
int64_t count_nonzero(const T* values, int64_t count) {
  IntVec<T> minus{};
  for_each_vector<T>(count, [&minus, values](auto load, auto)
                                __attribute__((always_inline)) { minus += load(values) != 0; });
  int64_t total = 0;
  for (int i = 0; i < kLanes<T>; ++i) total -= minus[i];
  return total;
}

template <class T, int Vectors>
constexpr void add_sparse_tiles(nncore::kernels::Kernels<T>& k) {
  if constexpr (Vectors > 0) {
    k.sparse_tile[Vectors - 1] = sparse_tile<T, Vectors>;
    k.sparse_row[Vectors - 1] = sparse_row<T, Vectors>;
    add_sparse_tiles<T, Vectors - 1>(k);
  }
}

template <class T>
constexpr void add_sparse_kernels(nncore::kernels::Kernels<T>& k) {
  k.has_minus_zero = has_minus_zero<T>;
  k.nonzero_bits = nonzero_bits<T>;
  k.all_finite = all_finite<T>;
  k.count_nonzero = count_nonzero<T>;
  add_sparse_tiles<T, nncore::kernels::kMaxTileVectors>(k);
}

}  // namespace
