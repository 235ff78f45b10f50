// Gradient descent on a weight by one sample, fused with the product of the new weight and the next sample: a
// weight that does not fit in the L1 cache is read once per step instead of twice.
#pragma once

#include "table.hpp"
#include "vec.hpp"

namespace {

/// Stores the first Parts parts of 16 bytes.
template <class T, int Parts>
NNCORE_INLINE void store_parts(T* p, Vec<T> value) {
  for (int part = 0; part < Parts; ++part)
    __builtin_memcpy(p + part * kPart<T>, reinterpret_cast<const char*>(&value) + 16 * part, 16);
}

/// All rows of `Vectors` registers of columns. The last register has `rest` elements; if Parts is not 0, they
/// are Parts whole parts, stored without a mask: the first load of the next row would wait for a masked
/// store.
template <class T, int Vectors, int Parts = 0>
NNCORE_INLINE void fused_sgd_columns(const nncore::kernels::FusedSgdCall<T>& call, int64_t column, int rest) {
  constexpr int lanes = kLanes<T>;
  const auto load_row = [rest](const T* row, int v) __attribute__((always_inline)) {
    return v == Vectors - 1 ? load_first(row + v * lanes, rest) : load(row + v * lanes);
  };
  const auto store_row = [rest](T* row, int v, Vec<T> value) __attribute__((always_inline)) {
    if (Parts > 0 && v == Vectors - 1)
      store_parts<T, Parts>(row + v * lanes, value);
    else
      store_first(row + v * lanes, value, v == Vectors - 1 ? rest : lanes);
  };
  Vec<T> gradient[Vectors], sum[Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) {
    gradient[v] = load_row(call.grad_output + column, v);
    sum[v] = call.bias != nullptr ? load_row(call.bias + column, v) : Vec<T>{};
  }
  const T scale = call.scale;
  const T* const x = call.x;
  const T* const next_x = call.next_x;
  T* row = call.weight + column;
  for (int64_t k = 0; k < call.depth; ++k, row += call.row_stride) {
    const Vec<T> left = broadcast<T>(x[k]), next = broadcast<T>(next_x[k]);
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {  // rounded like a separate outer product and the product after it
      const Vec<T> weight = load_row(row, v) + scale * fma(left, gradient[v], Vec<T>{});
      store_row(row, v, weight);
      sum[v] = fma(next, weight, sum[v]);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) store_row(call.output + column, v, sum[v]);
}

/// `Vectors` registers of columns, of which the last has `parts` parts.
template <class T, int Vectors, int Parts = 1>
NNCORE_INLINE void fused_sgd_parts(const nncore::kernels::FusedSgdCall<T>& call, int64_t column,
                                   int64_t parts) {
  if constexpr (Parts * kPart<T> < kLanes<T>) {
    if (parts == Parts) return fused_sgd_columns<T, Vectors, Parts>(call, column, Parts * kPart<T>);
    fused_sgd_parts<T, Vectors, Parts + 1>(call, column, parts);
  }
}

/// As many groups of `Vectors` registers as fit, plus the rest if that is whole parts of one register.
template <class T, int Vectors>
NNCORE_INLINE void fused_sgd_groups(const nncore::kernels::FusedSgdCall<T>& call, int64_t& column) {
  constexpr int lanes = kLanes<T>;
  while (column + Vectors * lanes <= call.columns) {
    const int64_t left = call.columns - column - Vectors * lanes;
    if (left > 0 && left < lanes && left % kPart<T> == 0) {
      fused_sgd_parts<T, Vectors + 1>(call, column, left / kPart<T>);
      column = call.columns;
    } else {
      fused_sgd_columns<T, Vectors>(call, column, lanes);
      column += Vectors * lanes;
    }
  }
}

/// Any other partial register is processed alone, as in an outer product.
template <class T>
void fused_sgd_step(const nncore::kernels::FusedSgdCall<T>& call) {
  int64_t column = 0;
  fused_sgd_groups<T, 6>(call, column);
  fused_sgd_groups<T, 2>(call, column);
  fused_sgd_groups<T, 1>(call, column);
  if (column < call.columns) fused_sgd_columns<T, 1>(call, column, static_cast<int>(call.columns - column));
}

template <class T>
constexpr void add_fused_sgd_kernels(nncore::kernels::Kernels<T>& k) {
  k.fused_sgd_step = fused_sgd_step<T>;
}

}  // namespace
