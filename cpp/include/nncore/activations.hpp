// Activations: A = f(Z), and their derivatives.
#pragma once

#include "nncore/matrix.hpp"

namespace nncore {

enum class Activation { identity, sigmoid, tanh, relu, softmax, log_softmax };
inline constexpr int kActivationCount = 6;

/// The one name an activation has in C++, Python, files and docs: "sigmoid", "log_softmax", ...
const char* name(Activation activation);

/// False for softmax and log_softmax, whose outputs each depend on the whole row.
bool is_elementwise(Activation activation);

/// output = f(input), row by row for softmax and log_softmax. Both matrices are (B, O) with
/// contiguous rows; `output` may be `input` itself. NaN gives NaN; infinities give the limit.
/// Throws std::invalid_argument for shapes that differ or rows that are not contiguous.
template <class T>
void activation_forward(Activation activation, Matrix<const T> input, Matrix<T> output);

/// grad_input = grad_output o f'(Z) with f' computed from the output A = f(Z); through the full
/// Jacobian for softmax and log_softmax. `accumulate` adds to grad_input instead of replacing it.
/// grad_input may be grad_output itself.
template <class T>
void activation_backward(Activation activation, Matrix<const T> grad_output, Matrix<const T> output,
                         Matrix<T> grad_input, bool accumulate = false);

}  // namespace nncore
