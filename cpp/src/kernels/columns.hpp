// Kernels of layers that treat each column separately: normalization, PReLU, dropout. Plain loops over
// columns, which the compiler vectorizes for each set: no operation depends on its neighbor, and none is
// fused.
#pragma once

#include "philox.hpp"
#include "table.hpp"
#include "vec.hpp"

namespace {

using nncore::kernels::ColumnSumsCall;
using nncore::kernels::DropoutCall;
using nncore::kernels::kPhiloxBlocks;
using nncore::kernels::NormalizeBackwardCall;
using nncore::kernels::NormalizeCall;
using nncore::kernels::PReluBackwardCall;

/// sums[j] += x, or (x - center[j])^2 if there is a center. With g: sums[j] += g, and products[j] += g (x -
/// center[j]).
template <class T>
void column_sums(const ColumnSumsCall<T>& call) {
  double* __restrict const sums = call.sums;
  double* __restrict const products = call.products;
  const double* __restrict const center = call.center;
  for (int64_t row = 0; row < call.rows; ++row) {
    const T* __restrict const x = call.x.data + row * call.x.row_stride;
    if (call.g.data != nullptr) {
      const T* __restrict const g = call.g.data + row * call.g.row_stride;
      for (int64_t j = 0; j < call.columns; ++j) {
        const double wide = static_cast<double>(g[j]);
        sums[j] += wide;
        products[j] += wide * (static_cast<double>(x[j]) - center[j]);
      }
    } else if (center != nullptr) {
      for (int64_t j = 0; j < call.columns; ++j) {
        const double distance = static_cast<double>(x[j]) - center[j];
        sums[j] += distance * distance;
      }
    } else {
      for (int64_t j = 0; j < call.columns; ++j) sums[j] += static_cast<double>(x[j]);
    }
  }
}

template <class T>
void normalize(const NormalizeCall<T>& call) {
  const T* __restrict const center = call.center;
  const T* __restrict const scale = call.scale;
  const T* __restrict const offset = call.offset;
  for (int64_t row = 0; row < call.rows; ++row) {
    const T* const x = call.x.data + row * call.x.row_stride;
    T* const out = call.out.data + row * call.out.row_stride;
    for (int64_t j = 0; j < call.columns; ++j) out[j] = (x[j] - center[j]) * scale[j] + offset[j];
  }
}

template <class T>
void normalize_backward(const NormalizeBackwardCall<T>& call) {
  const T* __restrict const center = call.center;
  const T* __restrict const scale = call.scale;
  const T* __restrict const slope = call.slope;
  const T* __restrict const offset = call.offset;
  for (int64_t row = 0; row < call.rows; ++row) {
    const T* const g = call.g.data + row * call.g.row_stride;
    const T* const x = call.x.data + row * call.x.row_stride;
    T* const to = call.grad_in.data + row * call.grad_in.row_stride;
    if (call.accumulate) {
      for (int64_t j = 0; j < call.columns; ++j)
        to[j] += g[j] * scale[j] + ((x[j] - center[j]) * slope[j] + offset[j]);
    } else {
      for (int64_t j = 0; j < call.columns; ++j)
        to[j] = g[j] * scale[j] + ((x[j] - center[j]) * slope[j] + offset[j]);
    }
  }
}

/// Negative z times the slope of its column; NaN stays NaN.
template <class T>
void prelu(Rows<const T> z, Rows<T> out, int64_t rows, int64_t columns, const T* slope) {
  for (int64_t row = 0; row < rows; ++row) {
    const T* const from = z.data + row * z.row_stride;
    T* const to = out.data + row * out.row_stride;
    for (int64_t j = 0; j < columns; ++j) to[j] = from[j] > T(0) ? from[j] : from[j] * slope[j];
  }
}

template <class T>
void prelu_backward(const PReluBackwardCall<T>& call) {
  const T* __restrict const slope = call.slope;
  for (int64_t row = 0; row < call.rows; ++row) {
    const T* const g = call.g.data + row * call.g.row_stride;
    const T* const z = call.z.data + row * call.z.row_stride;
    if (call.grad_in.data != nullptr) {
      T* const to = call.grad_in.data + row * call.grad_in.row_stride;
      for (int64_t j = 0; j < call.columns; ++j) {
        const T gradient = z[j] > T(0) ? g[j] : g[j] * slope[j];
        to[j] = call.accumulate ? to[j] + gradient : gradient;
      }
    }
    double* __restrict const sums = call.sums;
    for (int64_t j = 0; j < call.columns; ++j)
      sums[j] += z[j] > T(0) ? 0.0 : static_cast<double>(g[j]) * static_cast<double>(z[j]);
  }
}

/// The columns whose words come from 16 Philox blocks side by side: column 16 j + i takes word j of block i.
inline constexpr int kDropoutColumns = 4 * kPhiloxBlocks;

/// The words of 64 columns, from 64 * group on. (See random.hpp: the low 16 bits of a block's number and the
/// rest go into two words of the counter.)
NNCORE_INLINE void dropout_words(const uint32_t (&counter)[4], const uint32_t (&keys)[2], uint32_t group,
                                 uint32_t* words) {
  constexpr int lanes = kLanes<uint32_t>;
  for (int first = 0; first < kPhiloxBlocks; first += lanes) {
    const Words block = Words{} + (group * kPhiloxBlocks + static_cast<uint32_t>(first)) +
                        bit_cast<Words>(lane_numbers<float>());
    Words x[4] = {Words{} + counter[0], (block & 0xffffu) | counter[1], Words{} + counter[2],
                  ((block >> 16) << 16) | counter[3]};
    philox_rounds(x, keys);
    for (int word = 0; word < 4; ++word) store(words + word * kPhiloxBlocks + first, x[word]);
  }
}

template <class T>
void dropout(const DropoutCall<T>& call) {
  const uint32_t keys[2] = {static_cast<uint32_t>(call.seed), static_cast<uint32_t>(call.seed >> 32)};
  for (int64_t row = 0; row < call.rows; ++row) {
    const T* const in = call.in.data + row * call.in.row_stride;
    T* const out = call.out.data + row * call.out.row_stride;
    T* const factors = call.factors.data + row * call.factors.row_stride;
    const uint32_t counter[4] = {static_cast<uint32_t>(call.first_row + row), call.purpose << 16,
                                 static_cast<uint32_t>(call.step), call.node};
    for (int64_t first = 0; first < call.columns; first += kDropoutColumns) {
      uint32_t words[kDropoutColumns];
      dropout_words(counter, keys, static_cast<uint32_t>(first / kDropoutColumns), words);
      const int64_t count = call.columns - first < kDropoutColumns ? call.columns - first : kDropoutColumns;
      for (int64_t j = 0; j < count; ++j) {
        const T factor = words[j] >= call.threshold ? call.scale : T(0);
        factors[first + j] = factor;
        out[first + j] = in[first + j] * factor;
      }
    }
  }
}

template <class T>
constexpr void add_column_kernels(nncore::kernels::Kernels<T>& k) {
  k.column_sums = column_sums<T>;
  k.normalize = normalize<T>;
  k.normalize_backward = normalize_backward<T>;
  k.prelu = prelu<T>;
  k.prelu_backward = prelu_backward<T>;
  k.dropout = dropout<T>;
}

}  // namespace
