// Gradient descent on a weight by one sample, and its product with the next one, in one pass: a weight that
// the L1 cache does not hold is read once a step instead of twice.
#pragma once

#include "table.hpp"
#include "vec.hpp"

namespace {

/// All rows of Vectors registers of columns; `rest` elements of the last one exist.
template <class T, int Vectors>
NNCORE_INLINE void descend_columns(const nncore::kernels::DescentCall<T>& call, int64_t column, int rest) {
  constexpr int lanes = kLanes<T>;
  const auto load_row = [rest](const T* row, int v) __attribute__((always_inline)) {
    return v == Vectors - 1 ? load_first(row + v * lanes, rest) : load(row + v * lanes);
  };
  const auto store_row = [rest](T* row, int v, Vec<T> value) __attribute__((always_inline)) {
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
    for (int v = 0; v < Vectors; ++v) {  // rounded as an outer product is, and the product after it
      const Vec<T> weight = load_row(row, v) + scale * fma(left, gradient[v], Vec<T>{});
      store_row(row, v, weight);
      sum[v] = fma(next, weight, sum[v]);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) store_row(call.output + column, v, sum[v]);
}

/// A partial register goes alone, as in an outer product.
template <class T>
void descend(const nncore::kernels::DescentCall<T>& call) {
  constexpr int lanes = kLanes<T>;
  int64_t column = 0;
  for (; column + 6 * lanes <= call.columns; column += 6 * lanes) descend_columns<T, 6>(call, column, lanes);
  for (; column + 2 * lanes <= call.columns; column += 2 * lanes) descend_columns<T, 2>(call, column, lanes);
  for (; column < call.columns; column += lanes) {
    const int64_t left = call.columns - column;
    descend_columns<T, 1>(call, column, static_cast<int>(left < lanes ? left : lanes));
  }
}

template <class T>
constexpr void add_descent_kernels(nncore::kernels::Kernels<T>& k) {
  k.descend = descend<T>;
}

}  // namespace
