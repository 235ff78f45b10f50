# Written by tools/generate.py from the core's tables; changes here are lost.
"""Each formula as a function of float32 or float64 NumPy arrays, which are neither copied nor converted.

Arrays are matrices with contiguous rows or columns and any distance between them, batch first: x (B, I),
weight (O, I), bias (O,). The result goes to a new array, or to `out`, which is then returned;
`accumulate=True` adds to `out`.

Other dtypes raise TypeError. Other shapes and layouts, masked entries (numpy.ma), and an `out` that is
read-only or overlaps an argument raise ValueError.

    dense_forward(x, weight, bias=None, *, activation="identity", out=None)      f(x weight^T + bias)
    dense_backward(grad_output, x, weight, *, out=None, accumulate=False)        the three gradients
    <activation>(z, *, out=None)
    <activation>_backward(grad_output, output, *, out=None, accumulate=False)    from the output f(z)
    <loss>(prediction, target, *, sample_weight=None, reduction="mean")
    huber(prediction, target, *, delta=1.0, ...)                                 parameters by name
    <loss>_and_gradient(..., *, out=None, accumulate=False)                      value, gradient

`reduction` "mean" or "sum" gives a float, and "none" an array (B,). cross_entropy and softmax_cross_entropy
also accept class indices (B,) as target. For gaussian_nll, the target has half the prediction's columns.

>>> import numpy as np
>>> from nncore import functional as F
>>> x, weight, bias = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.array([5.0])
>>> F.dense_forward(x, weight, bias)
array([[16.]])
>>> grad_x, grad_weight, grad_bias = F.dense_backward(np.array([[1.0]]), x, weight)
>>> grad_x, grad_weight, grad_bias
(array([[3., 4.]]), array([[1., 2.]]), array([1.]))
"""

from ._core import (
    binary_cross_entropy,
    binary_cross_entropy_and_gradient,
    cross_entropy,
    cross_entropy_and_gradient,
    dense_backward,
    dense_forward,
    exp,
    gaussian_nll,
    gaussian_nll_and_gradient,
    gelu,
    gelu_backward,
    half_squared_error,
    half_squared_error_and_gradient,
    huber,
    huber_and_gradient,
    identity,
    identity_backward,
    leaky_relu,
    leaky_relu_backward,
    log,
    log_cosh,
    log_cosh_and_gradient,
    log_softmax,
    log_softmax_backward,
    mean_absolute_error,
    mean_absolute_error_and_gradient,
    mean_squared_error,
    mean_squared_error_and_gradient,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    sigmoid_cross_entropy,
    sigmoid_cross_entropy_and_gradient,
    silu,
    silu_backward,
    softmax,
    softmax_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_and_gradient,
    softsign,
    softsign_backward,
    tanh,
    tanh_backward,
)

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_and_gradient",
    "cross_entropy",
    "cross_entropy_and_gradient",
    "dense_backward",
    "dense_forward",
    "exp",
    "gaussian_nll",
    "gaussian_nll_and_gradient",
    "gelu",
    "gelu_backward",
    "half_squared_error",
    "half_squared_error_and_gradient",
    "huber",
    "huber_and_gradient",
    "identity",
    "identity_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log",
    "log_cosh",
    "log_cosh_and_gradient",
    "log_softmax",
    "log_softmax_backward",
    "mean_absolute_error",
    "mean_absolute_error_and_gradient",
    "mean_squared_error",
    "mean_squared_error_and_gradient",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "sigmoid_cross_entropy",
    "sigmoid_cross_entropy_and_gradient",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_and_gradient",
    "softsign",
    "softsign_backward",
    "tanh",
    "tanh_backward",
]
