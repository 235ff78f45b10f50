// Packing: a panel of the right operand, in the order in which the micro-kernel reads it.
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

/// Transposes in registers of at most 32 bytes: a shuffle of a wider register takes as long as two of these.
inline constexpr int kPackBytes = NNCORE_VECTOR_BYTES < 32 ? NNCORE_VECTOR_BYTES : 32;
template <class T>
inline constexpr int kPackLanes = kPackBytes / static_cast<int>(sizeof(T));
template <class T>
using PackVec = typename VectorType<T, kPackLanes<T>>::type;

/// part(0), part(1), ... side by side. Registers are transposed within each part, because shuffles across
/// parts cost twice as much.
template <class T, class F>
NNCORE_INLINE PackVec<T> join_parts(F part) {
#if NNCORE_VECTOR_BYTES >= 32
  const __m256 low = _mm256_castps128_ps256(bit_cast<__m128>(part(0)));
  return bit_cast<PackVec<T>>(_mm256_insertf128_ps(low, bit_cast<__m128>(part(1)), 1));
#else
  return part(0);
#endif
}

/// a0 b0 a1 b1 ... from the lower or higher half of each part.
template <class T, bool High, int... I>
NNCORE_INLINE PackVec<T> zip(PackVec<T> a, PackVec<T> b, Indices<I...>) {
  constexpr int size = kPart<T>;
  return __builtin_shufflevector(
      a, b, (I / size * size + I % size / 2 + (High ? size / 2 : 0) + (I % 2) * kPackLanes<T>)...);
}

/// In each part, rows[i][j] becomes rows[j][i], in log2(size) rounds that zip register i with i + size / 2.
template <class T>
NNCORE_INLINE void transpose(PackVec<T> (&rows)[kPart<T>]) {
  constexpr int size = kPart<T>;
  typedef typename MakeIndices<kPackLanes<T>>::type All;
#pragma GCC unroll 2
  for (int round = size; round > 1; round /= 2) {
    PackVec<T> next[size];
#pragma GCC unroll 2
    for (int i = 0; i < size / 2; ++i) {
      next[2 * i] = zip<T, false>(rows[i], rows[i + size / 2], All{});
      next[2 * i + 1] = zip<T, true>(rows[i], rows[i + size / 2], All{});
    }
#pragma GCC unroll 4
    for (int i = 0; i < size; ++i) rows[i] = next[i];
  }
}

/// The rows of the source (one per step of the depth) are contiguous: copy them.
template <class T>
NNCORE_INLINE void pack_rows(const T* source, int64_t depth_stride, int64_t depth, int64_t columns,
                             int64_t width, T* panel, int64_t panel_stride) {
  for (int64_t k = 0; k < depth; ++k) {
    const T* from = source + k * depth_stride;
    T* to = panel + k * panel_stride;
    prefetch_row(from + kPrefetchDistance * depth_stride, columns);
    for (int64_t j = 0; j < width; j += kLanes<T>) {
      const int64_t left = columns - j;
      store(to + j,
            left >= kLanes<T> ? load(from + j) : load_first(from + j, left > 0 ? static_cast<int>(left) : 0));
    }
  }
}

/// Transposes columns that are contiguous along the depth. `Groups` registers of columns lie side by side, so
/// that whole cache lines of the panel are filled at once. Unless Whole, only `present` columns exist.
template <class T, int Groups, bool Whole>
NNCORE_INLINE void pack_lanes(const T* source, int64_t column_stride, int64_t depth, int64_t present,
                              T* panel, int64_t panel_stride) {
  constexpr int lanes = kPackLanes<T>, size = kPart<T>;
  int64_t k = 0;
  for (; k + size <= depth; k += size) {
    PackVec<T> rows[Groups][size];
#pragma GCC unroll 2
    for (int g = 0; g < Groups; ++g) {
#pragma GCC unroll 4
      for (int i = 0; i < size; ++i) {
        rows[g][i] = join_parts<T>([=](int part) __attribute__((always_inline)) {
          const int column = g * lanes + part * size + i;
          Part<T> values{};
          if (Whole || column < present)
            __builtin_memcpy(&values, source + column * column_stride + k, sizeof values);
          return values;
        });
      }
      transpose<T>(rows[g]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < size; ++i)
      __builtin_memcpy(panel + (k + i) * panel_stride, &rows[0][i], sizeof rows[0][i]);
#pragma GCC unroll 4
    for (int i = 0; Groups > 1 && i < size; ++i)
      __builtin_memcpy(panel + (k + i) * panel_stride + lanes, &rows[Groups - 1][i], sizeof rows[0][i]);
  }
  for (; k < depth; ++k)
    for (int j = 0; j < Groups * lanes; ++j)
      panel[k * panel_stride + j] = Whole || j < present ? source[j * column_stride + k] : T{0};
}

/// The columns of the source are contiguous along the depth: transpose them.
template <class T>
NNCORE_INLINE void pack_columns(const T* source, int64_t column_stride, int64_t depth, int64_t columns,
                                int64_t width, T* panel, int64_t panel_stride) {
  constexpr int lanes = kPackLanes<T>;
  int64_t j = 0;
  for (; j + 2 * lanes <= columns; j += 2 * lanes)
    pack_lanes<T, 2, true>(source + j * column_stride, column_stride, depth, 2 * lanes, panel + j,
                           panel_stride);
  for (; j < width; j += lanes) {
    const T* const from = source + j * column_stride;
    if (columns - j >= lanes)
      pack_lanes<T, 1, true>(from, column_stride, depth, lanes, panel + j, panel_stride);
    else
      pack_lanes<T, 1, false>(from, column_stride, depth, columns - j, panel + j, panel_stride);
  }
}

template <class T>
void pack(const T* source, int64_t depth_stride, int64_t column_stride, int64_t depth, int64_t columns,
          int64_t width, T* panel, int64_t panel_stride) {
  if (column_stride == 1)
    pack_rows(source, depth_stride, depth, columns, width, panel, panel_stride);
  else
    pack_columns(source, column_stride, depth, columns, width, panel, panel_stride);
}

template <class T>
constexpr void add_pack_kernels(nncore::kernels::Kernels<T>& k) {
  k.pack = pack<T>;
  k.pack_lanes = kPackLanes<T>;
}

}  // namespace
