// Kernels of layers that treat each column by itself: normalization, PReLU, dropout. Plain loops over
// columns, which each set's compiler makes into vectors: no operation depends on its neighbour, and none is
// fused.
#pragma once

#include "table.hpp"
#include "vec.hpp"

namespace {

using nncore::kernels::ColumnSumsCall;
using nncore::kernels::DropoutCall;
using nncore::kernels::NormalizeBackwardCall;
using nncore::kernels::NormalizeCall;
using nncore::kernels::PReluBackwardCall;

/// sums[j] += x, or (x - center[j])^2 where there is a center; or, with g, g, and products[j] += g (x -
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

typedef Vec<uint32_t> Words;

/// The products of even lanes with m, 64 bits each.
NNCORE_INLINE Vec<uint64_t> multiply_even(Words a, uint32_t m) {
#if NNCORE_VECTOR_BYTES == 64
  return bit_cast<Vec<uint64_t>>(
      _mm512_maskz_mul_epu32(0xff, bit_cast<__m512i>(a), _mm512_set1_epi32(static_cast<int>(m))));
#elif NNCORE_VECTOR_BYTES == 32
  return bit_cast<Vec<uint64_t>>(
      _mm256_mul_epu32(bit_cast<__m256i>(a), _mm256_set1_epi32(static_cast<int>(m))));
#elif defined(__x86_64__)
  return bit_cast<Vec<uint64_t>>(_mm_mul_epu32(bit_cast<__m128i>(a), _mm_set1_epi32(static_cast<int>(m))));
#else
  return (bit_cast<Vec<uint64_t>>(a) & 0xffffffffu) * uint64_t{m};
#endif
}

/// The high and low halves of the products of all lanes with m.
struct Halves {
  Words high, low;
};
NNCORE_INLINE Halves multiply_words(Words a, uint32_t m) {
  const Vec<uint64_t> even = multiply_even(a, m);
  const Vec<uint64_t> odd = multiply_even(bit_cast<Words>(bit_cast<Vec<uint64_t>>(a) >> 32), m);
  return {bit_cast<Words>((even >> 32) | (odd & ~uint64_t{0xffffffffu})),
          bit_cast<Words>((even & 0xffffffffu) | (odd << 32))};
}

/// Columns whose words come from 16 blocks of Philox side by side: word j of block i is that of column 16 j +
/// i.
inline constexpr int kDropoutColumns = 64, kDropoutBlocks = 16;

/// The words of 64 columns from `group` * 64 on (see random.hpp: a block's number has 16 bits, then more).
NNCORE_INLINE void dropout_words(const uint32_t (&counter)[4], const uint32_t (&keys)[2], uint32_t group,
                                 uint32_t* words) {
  constexpr int lanes = kLanes<uint32_t>;
  for (int first = 0; first < kDropoutBlocks; first += lanes) {
    const Words block = Words{} + (group * kDropoutBlocks + static_cast<uint32_t>(first)) +
                        bit_cast<Words>(lane_numbers<float>());
    Words x0 = Words{} + counter[0], x1 = (block & 0xffffu) | counter[1];
    Words x2 = Words{} + counter[2], x3 = ((block >> 16) << 16) | counter[3];
    uint32_t key0 = keys[0], key1 = keys[1];
    for (int round = 0; round < 10; ++round, key0 += 0x9E3779B9u, key1 += 0xBB67AE85u) {
      const Halves a = multiply_words(x0, 0xD2511F53u), b = multiply_words(x2, 0xCD9E8D57u);
      x0 = b.high ^ x1 ^ key0;
      x1 = b.low;
      x2 = a.high ^ x3 ^ key1;
      x3 = a.low;
    }
    store(words + first, x0);
    store(words + kDropoutBlocks + first, x1);
    store(words + 2 * kDropoutBlocks + first, x2);
    store(words + 3 * kDropoutBlocks + first, x3);
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
