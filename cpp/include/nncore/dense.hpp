// The dense layer: Z = X W^T + b and its three gradients.
#pragma once

#include "nncore/activations.hpp"
#include "nncore/matrix.hpp"

namespace nncore {

/// output = f(x weight^T + bias): x (B, I), weight (O, I), bias (O) or null, output (B, O).
/// `activation` may be any; elementwise ones are applied to each finished tile while it is hot.
/// Matrices have one unit stride, and output's rows are contiguous; throws std::invalid_argument
/// otherwise, or where shapes differ.
template <class T>
void dense_forward(Matrix<const T> x, Matrix<const T> weight, const T* bias, Matrix<T> output,
                   const Activation& activation = ActivationKind::identity);

/// The gradients of a dense layer for grad_output = dL/dZ (B, O):
///   grad_x (B, I) = grad_output weight,  grad_weight (O, I) = grad_output^T x,
///   grad_bias (O) = sum of grad_output over the batch.
/// A gradient whose data is null is not computed. `accumulate` adds to what is there.
template <class T>
void dense_backward(Matrix<const T> grad_output, Matrix<const T> x, Matrix<const T> weight, Matrix<T> grad_x,
                    Matrix<T> grad_weight, T* grad_bias, bool accumulate = false);

}  // namespace nncore
