// Packing: a panel of the right operand, laid out as the micro-kernel walks it.
#pragma once

#include "table.hpp"
#include "vec.hpp"

namespace {

template <int... I>
struct Indices {};
template <int N, int... I>
struct MakeIndices : MakeIndices<N - 1, N - 1, I...> {};
template <int... I>
struct MakeIndices<0, I...> {
  typedef Indices<I...> type;
};

/// a0 b0 a1 b1 ... of the lower or higher halves.
template <class T, bool High, int... I>
NNCORE_INLINE Vec<T> zip(Vec<T> a, Vec<T> b, Indices<I...>) {
  constexpr int half = kLanes<T> / 2;
  return __builtin_shufflevector(a, b, (I / 2 + (High ? half : 0) + (I % 2) * kLanes<T>)...);
}

/// rows[i][j] becomes rows[j][i]: log2(lanes) rounds, each zipping register i with register i + lanes / 2.
template <class T>
NNCORE_INLINE void transpose(Vec<T> (&rows)[kLanes<T>]) {
  constexpr int lanes = kLanes<T>;
  typedef typename MakeIndices<lanes>::type All;
  for (int round = lanes; round > 1; round /= 2) {
    Vec<T> next[lanes];
#pragma GCC unroll 8
    for (int i = 0; i < lanes / 2; ++i) {
      next[2 * i] = zip<T, false>(rows[i], rows[i + lanes / 2], All{});
      next[2 * i + 1] = zip<T, true>(rows[i], rows[i + lanes / 2], All{});
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) rows[i] = next[i];
  }
}

/// The source's rows (one depth each) are contiguous: copy.
template <class T>
NNCORE_INLINE void pack_rows(const T* source, int64_t depth_stride, int64_t depth, int64_t columns,
                             int64_t width, T* panel) {
  for (int64_t k = 0; k < depth; ++k) {
    const T* from = source + k * depth_stride;
    T* to = panel + k * width;
    prefetch_row(from + kPrefetchDistance * depth_stride, columns);
    for (int64_t j = 0; j < width; j += kLanes<T>) {
      const int64_t left = columns - j;
      store(to + j,
            left >= kLanes<T> ? load(from + j) : load_first(from + j, left > 0 ? static_cast<int>(left) : 0));
    }
  }
}

/// The source's columns are contiguous along the depth: transpose lanes x lanes blocks.
template <class T>
NNCORE_INLINE void pack_columns(const T* source, int64_t column_stride, int64_t depth, int64_t columns,
                                int64_t width, T* panel) {
  constexpr int lanes = kLanes<T>;
  for (int64_t j = 0; j < width; j += lanes) {
    const int64_t present = columns - j < lanes ? columns - j : lanes;
    for (int64_t k = 0; k < depth; k += lanes) {
      const int deep = depth - k < lanes ? static_cast<int>(depth - k) : lanes;
      Vec<T> block[lanes];
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) {
        const T* from = source + (j + i) * column_stride + k;
        block[i] = i >= present ? Vec<T>{} : deep == lanes ? load(from) : load_first(from, deep);
      }
      transpose<T>(block);
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) {
        if (i < deep) store(panel + (k + i) * width + j, block[i]);
      }
    }
  }
}

template <class T>
void pack(const T* source, int64_t depth_stride, int64_t column_stride, int64_t depth, int64_t columns,
          int64_t width, T* panel) {
  if (column_stride == 1)
    pack_rows(source, depth_stride, depth, columns, width, panel);
  else
    pack_columns(source, column_stride, depth, columns, width, panel);
}

template <class T>
constexpr void add_pack_kernels(nncore::kernels::Kernels<T>& k) {
  k.pack = pack<T>;
}

}  // namespace
