"""The functions in NumPy, computed in place in buffers that are allocated once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..functions import arguments, results
from ..job import Job

ZERO, ONE = np.zeros((), np.float32), np.ones((), np.float32)


def matmul(function: str, shape: Sequence[int]) -> Job:
    """np.dot with out."""
    left, right = arguments(function, shape).values()
    run = partial(np.dot, left, right, np.empty((len(left), right.shape[1]), np.float32))
    return Job(run, check=results(run()))


def functional(function: str, shape: Sequence[int]) -> Job:
    """The fastest expression that we know."""
    given = arguments(function, shape)
    name, _, activation = function.partition(" ")
    if name == "dense_forward":
        run = dense_forward(activation, **given)
    elif name == "dense_backward":
        run = dense_backward(**given)
    else:
        first = next(iter(given.values()))
        run = partial(FUNCTIONS[name], *given.values(), np.empty_like(first), np.empty_like(first))
    return Job(run, check=results(run()))


def dense_forward(activation: str, x: Any, weight: Any, bias: Any) -> Callable[[], Any]:
    """A product, a bias and an activation."""
    out, act = np.empty((len(x), len(bias)), np.float32), FUNCTIONS[activation]

    def run() -> Any:
        np.dot(x, weight, out)
        np.add(out, bias, out)
        return act(out, out, None)

    return run


def dense_backward(grad_output: Any, x: Any, weight: Any) -> Callable[[], Any]:
    """Three products."""
    ones = np.ones(len(x), np.float32)
    grad_x, grad_weight, grad_bias = (
        np.empty_like(x),
        np.empty_like(weight),
        np.empty(weight.shape[1], np.float32),
    )

    def run() -> Any:
        np.dot(grad_output, weight.T, grad_x)
        np.dot(x.T, grad_output, grad_weight)
        np.dot(ones, grad_output, grad_bias)
        return grad_x, grad_weight, grad_bias

    return run


def sigmoid(z: Any, out: Any, _: Any) -> Any:
    """1 / (1 + exp(-z))."""
    np.exp(np.negative(z, out), out)
    return np.divide(ONE, np.add(out, ONE, out), out)


def softmax(z: Any, out: Any, _: Any) -> Any:
    """exp(z) divided by its sum."""
    np.exp(np.subtract(z, z.max(axis=1, keepdims=True), out), out)
    return np.divide(out, out.sum(axis=1, keepdims=True), out)


def log_softmax(z: Any, out: Any, scratch: Any) -> Any:
    """z minus the logarithm of the sum of exp(z)."""
    np.subtract(z, z.max(axis=1, keepdims=True), out)
    return np.subtract(out, np.log(np.exp(out, scratch).sum(axis=1, keepdims=True)), out)


def relu_backward(grad: Any, a: Any, out: Any, _: Any) -> Any:
    """g where a is positive, else 0."""
    return np.multiply(grad, np.greater(a, ZERO, out), out)


def tanh_backward(grad: Any, a: Any, out: Any, _: Any) -> Any:
    """g (1 - a²)."""
    np.subtract(ONE, np.multiply(a, a, out), out)
    return np.multiply(grad, out, out)


def sigmoid_backward(grad: Any, a: Any, out: Any, _: Any) -> Any:
    """g a (1 - a)."""
    np.multiply(a, np.subtract(ONE, a, out), out)
    return np.multiply(grad, out, out)


def softmax_backward(grad: Any, a: Any, out: Any, scratch: Any) -> Any:
    """a (g - Σ g a)."""
    total = np.einsum("ij,ij->i", grad, a)[:, None]
    return np.multiply(a, np.subtract(grad, total, scratch), out)


def log_softmax_backward(grad: Any, a: Any, out: Any, _: Any) -> Any:
    """g - exp(a) Σ g."""
    np.multiply(np.exp(a, out), grad.sum(axis=1, keepdims=True), out)
    return np.subtract(grad, out, out)


def squared_error(a: Any, y: Any, out: Any, _: Any, *, is_half: bool) -> Any:
    """The gradient is the difference times a constant."""
    np.subtract(a, y, out)
    value = np.vdot(out, out) / (2 * len(a) if is_half else a.size)
    return value, np.multiply(out, np.float32(1 / len(a) if is_half else 2 / a.size), out)


def sigmoid_cross_entropy(z: Any, y: Any, out: Any, scratch: Any) -> Any:
    """Value and gradient, both from exp."""
    np.exp(np.negative(np.abs(z, scratch), scratch), scratch)
    value = (np.log1p(scratch, scratch).sum() + np.maximum(z, ZERO, out=out).sum() - np.vdot(z, y)) / z.size
    np.subtract(sigmoid(z, out, None), y, out)
    return value, np.multiply(out, np.float32(1 / z.size), out)


def binary_cross_entropy(p: Any, y: Any, out: Any, scratch: Any) -> Any:
    """Value and gradient with two logarithms and one division."""
    value = np.vdot(np.log1p(np.negative(p, out), out), np.subtract(ONE, y, scratch))
    value = -(value + np.vdot(np.log(p, out), y)) / p.size
    np.multiply(np.multiply(p, np.subtract(ONE, p, scratch), scratch), np.float32(p.size), scratch)
    return value, np.divide(np.subtract(p, y, out), scratch, out)


def softmax_cross_entropy(z: Any, y: Any, out: Any, _: Any) -> Any:
    """The value takes the logarithm of the sum that softmax divides by."""
    rows = np.arange(len(z))
    np.subtract(z, z.max(axis=1, keepdims=True), out)
    value = out[rows, y].sum()
    total = np.exp(out, out).sum(axis=1, keepdims=True)
    value = (np.log(total).sum() - value) / len(z)
    np.divide(out, total, out)
    out[rows, y] -= ONE
    return value, np.multiply(out, np.float32(1 / len(z)), out)


def cross_entropy(p: Any, y: Any, out: Any, _: Any) -> Any:
    """Value and gradient from one entry per row."""
    rows = np.arange(len(p))
    picked = p[rows, y]
    out.fill(0)
    out[rows, y] = np.float32(-1 / len(p)) / picked
    return -np.log(picked).sum() / len(p), out


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "identity": lambda z, out, _: out,
    "relu": lambda z, out, _: np.maximum(z, ZERO, out=out),
    "tanh": lambda z, out, _: np.tanh(z, out),
    "sigmoid": sigmoid,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "relu_backward": relu_backward,
    "tanh_backward": tanh_backward,
    "sigmoid_backward": sigmoid_backward,
    "softmax_backward": softmax_backward,
    "log_softmax_backward": log_softmax_backward,
    "mean_squared_error": partial(squared_error, is_half=False),
    "half_squared_error": partial(squared_error, is_half=True),
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "softmax_cross_entropy": softmax_cross_entropy,
    "cross_entropy": cross_entropy,
}
