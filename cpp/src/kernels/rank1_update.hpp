// The product of a column and a row: depth 1, where reading and writing c is all the work.
#pragma once

#include "table.hpp"
#include "vec.hpp"

namespace {

/// All rows of `Vectors` registers of columns; the last register has `rest` elements.
template <class T, int Vectors, bool Add>
NNCORE_INLINE void outer_columns(const nncore::kernels::TileCall<T>& call, int64_t rows, int64_t column,
                                 int rest) {
  constexpr int lanes = kLanes<T>;
  const auto load_row = [rest](const T* row, int v) __attribute__((always_inline)) {
    return v == Vectors - 1 ? load_first(row + v * lanes, rest) : load(row + v * lanes);
  };
  Vec<T> b[Vectors], start[Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) {
    b[v] = load_row(call.b + column, v);
    start[v] = call.bias != nullptr ? load_row(call.bias + column, v) : Vec<T>{};
  }
  const T* a = call.a;
  T* c = call.c + column;
  const T scale = call.scale;
  const int64_t a_row_stride = call.a_row_stride, c_row_stride = call.c_row_stride;
  for (int64_t r = 0; r < rows; ++r, a += a_row_stride, c += c_row_stride) {
    const Vec<T> left = broadcast<T>(*a);
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      const Vec<T> product = fma(left, b[v], start[v]);
      store_first(c + v * lanes, Add ? load_row(c, v) + scale * product : product,
                  v == Vectors - 1 ? rest : lanes);
    }
  }
}

/// A partial register is processed alone: stored just before the next row is loaded from the same place, it
/// would make that load wait. See "Tuning measurements" in docs/performance.md.
template <class T, bool Add>
NNCORE_INLINE void outer_product_of(const nncore::kernels::TileCall<T>& call, int64_t rows) {
  constexpr int lanes = kLanes<T>;
  int64_t column = 0;
  for (; column + 6 * lanes <= call.columns; column += 6 * lanes)
    outer_columns<T, 6, Add>(call, rows, column, lanes);
  for (; column + 2 * lanes <= call.columns; column += 2 * lanes)
    outer_columns<T, 2, Add>(call, rows, column, lanes);
  for (; column < call.columns; column += lanes) {
    const int64_t left = call.columns - column;
    outer_columns<T, 1, Add>(call, rows, column, static_cast<int>(left < lanes ? left : lanes));
  }
}

/// The longest repeated row that outer_product_as_one has room for, in elements.
inline constexpr int64_t kRepeated = 2048;

/// How many rows without gaps between them fill whole registers.
template <class T>
NNCORE_INLINE int64_t rows_of_whole_registers(int64_t columns) {
  const int64_t power = columns & -columns;  // the largest power of two that divides columns
  return power >= kLanes<T> ? 1 : kLanes<T> / power;
}

/// c += scale a b, where the rows of c do not fill whole registers but lie without gaps. Treats c as one
/// array of registers, which may hold the end of a row and the start of the next, so that none crosses a
/// cache line.
template <class T>
NNCORE_INLINE void outer_product_as_one(const nncore::kernels::TileCall<T>& call, int64_t rows,
                                        int64_t period) {
  constexpr int lanes = kLanes<T>;
  alignas(64) T b[kRepeated];
  for (int64_t r = 0; r < period; ++r)
    for (int64_t j = 0; j < call.columns; ++j) b[r * call.columns + j] = call.b[j];
  const T scale = call.scale;
  const int64_t columns = call.columns, a_row_stride = call.a_row_stride;
  T* c = call.c;
  const auto add = [&c, &b, scale](Vec<T> a, int64_t i) __attribute__((always_inline)) {
    store(c + i, load(c + i) + scale * fma(a, load(b + i), Vec<T>{}));
  };
  const T* a = call.a;
  for (int64_t row = 0; row < rows; row += period, c += period * columns) {
    int64_t i = 0;
    for (int64_t end = columns; end <= period * columns; end += columns, a += a_row_stride) {
      const Vec<T> left = broadcast<T>(*a);
      for (; i + lanes <= end; i += lanes) add(left, i);
      if (i == end) continue;
      const auto in_row = lane_numbers<T>() < broadcast_int<T>(static_cast<Int<T>>(end - i));
      add(in_row ? left : broadcast<T>(a[a_row_stride]), i);
      i += lanes;
    }
  }
}

template <class T>
void rank1_update(const nncore::kernels::TileCall<T>& call, int64_t rows) {
  if (!call.add) return outer_product_of<T, false>(call, rows);
  nncore::kernels::TileCall<T> rest = call;
  const int64_t period = rows_of_whole_registers<T>(call.columns);
  if (period > 1 && call.c_row_stride == call.columns && call.columns >= kLanes<T> &&
      period * call.columns <= kRepeated) {
    const int64_t whole = rows / period * period;
    outer_product_as_one<T>(call, whole, period);
    rest.a += whole * call.a_row_stride;
    rest.c += whole * call.c_row_stride;
    rows -= whole;
  }
  outer_product_of<T, true>(rest, rows);
}

template <class T>
constexpr void add_rank1_update_kernels(nncore::kernels::Kernels<T>& k) {
  k.rank1_update = rank1_update<T>;
}

}  // namespace
