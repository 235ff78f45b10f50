// Micro-kernels of narrow results, computed as their transpose: samples are lanes.
//
//   c (R x N)  =  a (R x depth) b (depth x N)        R: few outputs; N: up to V registers of samples
//
//   for each 16 bytes of the depth: load them from N samples and transpose them in registers;
//     for each k among them, for each of R rows: broadcast a(r, k), V fmas
//
// The elements of a sample are contiguous, so that b is read along its columns. Shuffles use another
// execution port than fmas, so that transposing costs little more than the loads.
#pragma once

#include "pack.hpp"
#include "table.hpp"
#include "vec.hpp"

namespace {

/// Registers of samples for R rows: enough chains to hide the latency of an fma, and few enough to leave
/// registers for one transposed piece.
constexpr int narrow_vectors(int rows) { return rows <= (NNCORE_VECTOR_BYTES == 64 ? 4 : 3) ? 2 : 1; }

/// A piece of kPackLanes samples: transposed[k][j] = sample(j)[k].
template <class T, class Sample>
NNCORE_INLINE void load_transposed(Sample sample, PackVec<T> (&transposed)[kPart<T>]) {
  constexpr int size = kPart<T>;
#pragma GCC unroll 4
  for (int i = 0; i < size; ++i) {
    transposed[i] = join_parts<T>([=](int part) __attribute__((always_inline)) {
      Part<T> values;
      __builtin_memcpy(&values, sample(part * size + i), sizeof values);
      return values;
    });
  }
  transpose<T>(transposed);
}

template <class T, int... I>
NNCORE_INLINE Vec<T> join(PackVec<T> low, PackVec<T> high, Indices<I...>) {
  return __builtin_shufflevector(low, high, I...);
}

/// A register of samples: piece[k][j] = sample(j)[k].
template <class T, class Sample>
NNCORE_INLINE void load_piece(Sample sample, Vec<T> (&piece)[kPart<T>]) {
  if constexpr (kLanes<T> == kPackLanes<T>) {
    load_transposed<T>(sample, piece);
  } else {
    PackVec<T> low[kPart<T>], high[kPart<T>];
    load_transposed<T>(sample, low);
    load_transposed<T>([sample](int j) __attribute__((always_inline)) { return sample(kPackLanes<T> + j); },
                       high);
#pragma GCC unroll 4
    for (int k = 0; k < kPart<T>; ++k)
      piece[k] = join<T>(low[k], high[k], typename MakeIndices<kLanes<T>>::type{});
  }
}

template <class T, int Rows, int Vectors, bool Whole>
NNCORE_INLINE void run_narrow_tile(const nncore::kernels::TileCall<T>& call, int64_t b_column_stride) {
  constexpr int lanes = kLanes<T>, size = kPart<T>, samples = Vectors * lanes;
  static_assert(samples % 4 == 0, "one pointer serves four samples");
  const int64_t c_row_stride = call.c_row_stride, a_row_stride = call.a_row_stride;
  const int columns = static_cast<int>(call.columns);
  const auto present = [columns](int v) __attribute__((always_inline)) {
    const int left = columns - v * lanes;
    return left < 0 ? 0 : left > lanes ? lanes : left;
  };
  const auto load_row = [present](const T* row, int v) __attribute__((always_inline)) {
    return Whole ? load(row + v * lanes) : load_first(row + v * lanes, present(v));
  };
  Vec<T> sum[Rows][Vectors];
#pragma GCC unroll 12
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v)
      sum[r][v] = call.resume ? load_row(call.c + r * c_row_stride, v) : Vec<T>{};
  }

  // One pointer serves four samples, or three rows of a, so that the integer registers suffice. Lanes without
  // a sample read the last sample.
  const T* b[samples / 4];
#pragma GCC unroll 16
  for (int group = 0; group < samples / 4; ++group) b[group] = call.b + 4 * group * b_column_stride;
  const T* const last = call.b + (columns - 1) * b_column_stride;
  const T* a[(Rows + 2) / 3];
#pragma GCC unroll 4
  for (int group = 0; group < (Rows + 2) / 3; ++group) a[group] = call.a + 3 * group * a_row_stride;
  const auto step = [&](const Vec<T>(&x)[Vectors]) __attribute__((always_inline)) {
#pragma GCC unroll 12
    for (int r = 0; r < Rows; ++r) {
      const Vec<T> left = broadcast<T>(a[r / 3][(r % 3) * a_row_stride]);
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) sum[r][v] = fma(left, x[v], sum[r][v]);
    }
#pragma GCC unroll 4
    for (int group = 0; group < (Rows + 2) / 3; ++group) a[group] += call.a_depth_stride;
  };
  int64_t k = 0;
  for (; k + size <= call.depth; k += size) {
    Vec<T> piece[Vectors][size];
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      load_piece<T>(
          [=, &b](int j) __attribute__((always_inline)) {
            const int sample = v * lanes + j;
            if (Whole || sample < columns) return b[sample / 4] + (sample % 4) * b_column_stride + k;
            return last + k;
          },
          piece[v]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < size; ++i) {
      Vec<T> x[Vectors];
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) x[v] = piece[v][i];
      step(x);
    }
  }
  for (; k < call.depth; ++k) {
    T values[samples];
    for (int j = 0; j < samples; ++j) values[j] = (j < columns ? call.b + j * b_column_stride : last)[k];
    Vec<T> x[Vectors];
    for (int v = 0; v < Vectors; ++v) x[v] = load(values + v * lanes);
    step(x);
  }

#pragma GCC unroll 12
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      T* const row = call.c + r * c_row_stride;
      const Vec<T> result = call.add ? load_row(row, v) + call.scale * sum[r][v] : sum[r][v];
      if (Whole)
        store(row + v * lanes, result);
      else
        store_first(row + v * lanes, result, present(v));
    }
  }
}

template <class T, int Rows>
void narrow_tile(const nncore::kernels::TileCall<T>& call, int64_t b_column_stride) {
  constexpr int vectors = narrow_vectors(Rows);
  if (call.columns == vectors * kLanes<T>)
    run_narrow_tile<T, Rows, vectors, true>(call, b_column_stride);
  else
    run_narrow_tile<T, Rows, vectors, false>(call, b_column_stride);
}

/// A narrow tile has at most as many rows as a narrow result has columns.
template <class T>
inline constexpr int kNarrowRows =
    nncore::kernels::max_narrow_columns(kLanes<T>) < nncore::kernels::kMaxNarrowRows
        ? nncore::kernels::max_narrow_columns(kLanes<T>)
        : nncore::kernels::kMaxNarrowRows;

template <class T, int Rows = kNarrowRows<T>>
constexpr void add_narrow_kernels(nncore::kernels::Kernels<T>& k) {
  if constexpr (Rows > 0) {
    k.narrow_tile[Rows - 1] = narrow_tile<T, Rows>;
    k.narrow_vectors[Rows - 1] = narrow_vectors(Rows);
    add_narrow_kernels<T, Rows - 1>(k);
  }
}

}  // namespace
