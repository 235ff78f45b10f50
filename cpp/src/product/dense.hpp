// Dense layers inside the library: like nncore/dense.hpp, but with scratch from the caller and fused
// epilogues.
#pragma once

#include <algorithm>

#include "nncore/dense.hpp"
#include "nncore/operation.hpp"
#include "product/matmul.hpp"

namespace nncore {

/// Scratch that one worker needs for all products of a layer and a batch of `rows` samples.
constexpr std::int64_t dense_scratch_bytes(std::int64_t in_features, std::int64_t out_features,
                                           std::int64_t rows) {
  return std::max({matmul_scratch_bytes(rows, out_features, in_features),
                   matmul_scratch_bytes(rows, in_features, out_features),
                   matmul_scratch_bytes(in_features, out_features, rows)});
}

template <class T>
struct DenseGradients {
  Matrix<T> x;  ///< each: data null if not wanted
  Matrix<T> weight;
  T* bias = nullptr;
  bool accumulate_x = false;
  bool accumulate_weight = false;
  T weight_scale = 1;  ///< scales what is accumulated; may differ from 1 only if is_one_chain
  bool accumulate_bias = false;
  InputDerivative<T> derivative_x{};  ///< multiplies grad_x
};

/// Whether every entry of a weight's gradient over `rows` samples is complete as soon as its tile is.
constexpr bool is_one_chain(std::int64_t rows) { return rows <= kMaxChain; }

/// Whether a layer may use dense_advance: its sums are one chain, and its products would run on one thread.
constexpr bool dense_advances(std::int64_t in_features, std::int64_t out_features) {
  return in_features <= kMaxChain && 2 * in_features * out_features < kOneThreadFlops;
}

/// `activation` may be null. If `derivative` has data, it receives that of an elementwise activation.
template <class T>
void dense_forward(Matrix<const T> x, Matrix<const T> weight, const T* bias, Matrix<T> output,
                   const Activation* activation, Matrix<T> derivative, Scratch scratch,
                   bool finite_weight = false);

/// gradient = gradient o the derivative of the activation that made `value`; all matrices are without gaps.
template <class T>
void multiply_derivative(const InputDerivative<T>& derivative, Matrix<const T> value, Matrix<T> gradient);

template <class T>
void dense_backward(Matrix<const T> grad_output, Matrix<const T> x, Matrix<const T> weight,
                    const DenseGradients<T>& gradients, Scratch scratch);

/// sums (O) = (or +=) the sum of grad_output (B, O) over the batch, with the bits of its product with a row
/// of ones. Only rows that are not contiguous need scratch.
template <class T>
void sum_batch(Matrix<const T> grad_output, T* sums, bool accumulate, Scratch scratch);

/// For one sample: weight += scale grad_output^T x, as dense_backward does it, then output =
/// activation(next_x weight^T + bias), as dense_forward does it. The weight (O, I) is laid out by columns.
template <class T>
void dense_advance(Matrix<const T> grad_output, Matrix<const T> x, T scale, Matrix<T> weight, const T* next_x,
                   const T* bias, Matrix<T> output, const Activation* activation, Matrix<T> derivative);

}  // namespace nncore
