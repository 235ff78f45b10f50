// The dense layer Z = X W^T + b and its three gradients.
#pragma once

#include "nncore/activations.hpp"
#include "nncore/matrix.hpp"

namespace nncore {

/// Computes output = f(x weight^T + bias), with f the activation.
///
/// x: (B, I). weight: (O, I). bias: (O), or null for none. output: (B, O) with contiguous rows. Each matrix
/// has a unit stride along rows or columns. An elementwise activation is fused with the product. Throws
/// std::invalid_argument if shapes or strides do not fit.
template <class T>
void dense_forward(Matrix<const T> x, Matrix<const T> weight, const T* bias, Matrix<T> output,
                   const Activation& activation = ActivationKind::identity);

/// Computes the gradients of a dense layer from grad_output = dL/dZ (B, O):
///
///     grad_x (B, I) = grad_output weight
///     grad_weight (O, I) = grad_output^T x
///     grad_bias (O) = sum of grad_output over the batch
///
/// A gradient whose data is null is not computed. `accumulate` adds to the gradients instead of replacing
/// them. Each matrix has a unit stride along rows or columns. Throws std::invalid_argument if shapes or
/// strides do not fit.
template <class T>
void dense_backward(Matrix<const T> grad_output, Matrix<const T> x, Matrix<const T> weight, Matrix<T> grad_x,
                    Matrix<T> grad_weight, T* grad_bias, bool accumulate = false);

}  // namespace nncore
