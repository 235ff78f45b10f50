// Elementwise kernels, and sums over rows.
#pragma once

#include "elementary.hpp"
#include "reduce.hpp"
#include "table.hpp"
#include "vec.hpp"

namespace {

/// out = F(in)
template <class T, Vec<T> (*F)(Vec<T>)>
void map(const T* in, T* out, int64_t count) {
  for_each_vector<T>(count,
                     [=](auto load, auto store) __attribute__((always_inline)) { store(out, F(load(in))); });
}

/// out = F(a, b)
template <class T, Vec<T> (*F)(Vec<T>, Vec<T>)>
void map(const T* a, const T* b, T* out, int64_t count) {
  for_each_vector<T>(
      count, [=](auto load, auto store) __attribute__((always_inline)) { store(out, F(load(a), load(b))); });
}

template <class T>
NNCORE_INLINE Vec<T> sum_of(Vec<T> a, Vec<T> b) {
  return a + b;
}
template <class T>
NNCORE_INLINE Vec<T> difference_of(Vec<T> a, Vec<T> b) {
  return a - b;
}
template <class T>
NNCORE_INLINE Vec<T> product_of(Vec<T> a, Vec<T> b) {
  return a * b;
}

template <class T>
void multiply_add(const T* a, const T* b, T* out, int64_t count) {
  for_each_vector<T>(count, [=](auto load, auto store) __attribute__((always_inline)) {
    store(out, load(out) + load(a) * load(b));
  });
}

/// `Vectors` registers of columns; the last one has `rest` columns.
template <class T, int Vectors>
NNCORE_INLINE void sum_columns(const T* in, int64_t row_stride, int64_t rows, int rest, T* sums,
                               bool accumulate) {
  constexpr int lanes = kLanes<T>;
  const auto load_row = [rest](const T* row, int v) __attribute__((always_inline)) {
    return v == Vectors - 1 ? load_first(row + v * lanes, rest) : load(row + v * lanes);
  };
  Vec<T> sum[Vectors] = {};
  for (int64_t r = 0; r < rows; ++r, in += row_stride) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) sum[v] = sum[v] + load_row(in, v);
  }
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) {
    const Vec<T> result = accumulate ? load_row(sums, v) + sum[v] : sum[v];
    store_first(sums + v * lanes, result, v == Vectors - 1 ? rest : lanes);
  }
}

/// Each addition waits for the previous one, so several registers of columns are summed side by side.
template <class T>
void sum_rows(const T* in, int64_t row_stride, int64_t rows, int64_t columns, T* sums, bool accumulate) {
  constexpr int lanes = kLanes<T>, wide = 8 * lanes;
  for (; columns >= wide; columns -= wide, in += wide, sums += wide)
    sum_columns<T, 8>(in, row_stride, rows, lanes, sums, accumulate);
  for (; columns > lanes; columns -= 2 * lanes, in += 2 * lanes, sums += 2 * lanes) {
    const auto rest = static_cast<int>(columns < 2 * lanes ? columns - lanes : lanes);
    sum_columns<T, 2>(in, row_stride, rows, rest, sums, accumulate);
  }
  if (columns > 0) sum_columns<T, 1>(in, row_stride, rows, static_cast<int>(columns), sums, accumulate);
}

using nncore::kernels::Rows;

/// Treats rows without gaps between them as one row.
template <class... R>
NNCORE_INLINE void join_rows(int64_t& rows, int64_t& columns, R... matrices) {
  if (((matrices.row_stride == columns) && ...)) {
    columns *= rows;
    rows = rows > 0 ? 1 : 0;
  }
}

/// How many elements of a long row precede the first aligned register: a store that crosses a cache line
/// costs two. (Large NumPy arrays start 16 bytes past a cache line.)
template <class T>
NNCORE_INLINE int64_t unaligned_head(const T* row, int64_t count) {
  const uintptr_t beyond = reinterpret_cast<uintptr_t>(row) % NNCORE_VECTOR_BYTES;
  if (count < 4096 || beyond % sizeof(T) != 0) return 0;
  return static_cast<int64_t>((NNCORE_VECTOR_BYTES - beyond) % NNCORE_VECTOR_BYTES / sizeof(T));
}

/// out = a b, row by row.
template <class T>
void multiply_rows(Rows<const T> a, Rows<const T> b, Rows<T> out, int64_t rows, int64_t columns) {
  join_rows(rows, columns, a, b, out);
  for (; rows > 0; --rows, a.data += a.row_stride, b.data += b.row_stride, out.data += out.row_stride)
    for_each_vector<T>(columns, [=](auto load, auto store) __attribute__((always_inline)) {
      store(out.data, load(a.data) * load(b.data));
    });
}

template <class T>
constexpr void add_elementwise_kernels(nncore::kernels::Kernels<T>& k) {
  k.exp = map<T, exp<T>>;
  k.log = map<T, log<T>>;
  k.add = map<T, sum_of<T>>;
  k.subtract = map<T, difference_of<T>>;
  k.multiply = map<T, product_of<T>>;
  k.multiply_add = multiply_add<T>;
  k.multiply_rows = multiply_rows<T>;
  k.sum_rows = sum_rows<T>;
}

}  // namespace
