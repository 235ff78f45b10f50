"""The NumPy network of the benchmarks: dense layers, as fast as we can make them in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    Array = NDArray[Any]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
BLOCK = 1 << 14  # parameters whose values, gradients and moments stay in the cache during an update


class _Layer(NamedTuple):
    """Views of one layer's parameters, (I, O) and (O,), and the buffers of a batch, (B, O)."""

    weight: Array
    bias: Array
    grad_weight: Array
    grad_bias: Array
    value: Array
    delta: Array
    scratch: Array


class NumpyNet:
    """Forward pass, loss, backward pass and update in best-practice NumPy, tested by tests/test_bench.py.

    Buffers are allocated once, and results are written in place. The parameters are one flat array, updated
    in blocks that fit the cache. np.dot was faster than np.matmul, several times so for one row. Multiplying
    a row of ones by a matrix is faster than summing the matrix over rows, and a 0-d array is a faster
    constant than a number.

    `activation` is the activation of the hidden layers, `output` that of the last layer: "identity", or
    "sigmoid" with "half_squared_error". `weights` are (I, O), for x @ weight. A batch has `rows` samples.
    """

    def __init__(
        self,
        weights: Sequence[Array],
        biases: Sequence[Array],
        *,
        activation: str,
        output: str,
        loss: str,
        optimizer: str,
        learning_rate: float,
        rows: int,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.activation, self.output, self.loss, self.optimizer = activation, output, loss, optimizer
        self.learning_rate, self.steps = learning_rate, 0
        self.number: Any = np.dtype(dtype).type
        self.zero, self.one = np.zeros((), dtype), np.ones((), dtype)
        self.flat = np.empty(
            sum(weight.size + bias.size for weight, bias in zip(weights, biases, strict=True)), dtype
        )
        self.grad = np.zeros_like(self.flat)
        self.moments = [np.zeros_like(self.flat) for _ in range(2 if optimizer == "adam" else 0)]
        self.scratch = np.empty((2, BLOCK), dtype)
        self.ones, self.rows = np.ones(rows, dtype), np.arange(rows)
        self.layers: list[_Layer] = []
        start = 0
        for weight, bias in zip(weights, biases, strict=True):
            middle, end = start + weight.size, start + weight.size + bias.size
            views = [
                view
                for array in (self.flat, self.grad)
                for view in (array[start:middle].reshape(weight.shape), array[middle:end])
            ]
            views[0][...], views[1][...] = weight, bias
            buffers = [np.empty((rows, bias.size), dtype) for _ in range(3)]
            self.layers.append(_Layer(*views, *buffers))
            start = end

    def forward(self, x: Array) -> Array:
        """The outputs, in a buffer that the next call overwrites."""
        last = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            value = layer.value
            np.dot(x, layer.weight, value)
            np.add(value, layer.bias, value)
            self._activate(self.activation if number < last else self.output, value)
            x = value
        return x

    def step(self, x: Array, y: Array) -> float:
        """Makes one training step and returns the loss before it."""
        value = self._loss(self.forward(x), y, self.layers[-1])
        for number in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[number]
            below = self.layers[number - 1] if number else None
            inputs = x if below is None else below.value
            np.dot(inputs.T, layer.delta, layer.grad_weight)
            np.dot(self.ones, layer.delta, layer.grad_bias)
            if below is not None:
                np.dot(layer.delta, layer.weight.T, below.delta)
                self._slope(self.activation, below)
        self.steps += 1
        for start in range(0, self.flat.size, BLOCK):
            self._update(slice(start, start + BLOCK))
        return value

    def _activate(self, name: str, value: Array) -> None:
        if name == "relu":
            np.maximum(value, self.zero, out=value)
        elif name == "tanh":
            np.tanh(value, value)
        elif name == "sigmoid":
            np.exp(np.negative(value, value), value)
            np.divide(self.one, np.add(value, self.one, value), value)

    def _slope(self, name: str, layer: _Layer) -> None:
        """Multiplies the layer's delta by its activation's derivative, computed from the layer's value."""
        _, _, _, _, value, delta, scratch = layer
        if name == "identity":
            return
        if name == "relu":
            np.greater(value, self.zero, scratch)
        elif name == "tanh":
            np.subtract(self.one, np.multiply(value, value, scratch), scratch)
        else:
            np.multiply(value, np.subtract(self.one, value, scratch), scratch)
        np.multiply(delta, scratch, delta)

    def _loss(self, output: Array, y: Array, last: _Layer) -> float:
        """Returns the mean loss; leaves its gradient by the last pre-activation in the last layer's delta."""
        rows, delta, scratch = len(output), last.delta, last.scratch
        if self.loss in ("mean_squared_error", "half_squared_error"):
            half = self.loss == "half_squared_error"
            np.subtract(output, y, delta)
            value = float(np.vdot(delta, delta)) / (2 * rows if half else delta.size)
            np.multiply(delta, self.number(1 / rows if half else 2 / delta.size), delta)
            self._slope(self.output, last)
            return value
        if self.loss == "sigmoid_cross_entropy":
            np.abs(output, scratch)
            np.exp(np.negative(scratch, scratch), scratch)
            value = float(np.log1p(scratch).sum() + np.maximum(output, self.zero).sum() - np.vdot(output, y))
            np.exp(np.negative(output, delta), delta)
            np.divide(self.one, np.add(delta, self.one, delta), delta)
            np.subtract(delta, y, delta)
        else:
            np.subtract(output, output.max(axis=1, keepdims=True), delta)
            value = -float(delta[self.rows, y].sum())
            np.exp(delta, delta)
            total = delta.sum(axis=1, keepdims=True)
            value += float(np.log(total).sum())
            np.divide(delta, total, delta)
            delta[self.rows, y] -= self.one
        np.multiply(delta, self.number(1 / rows), delta)
        return value / rows

    def _update(self, block: slice) -> None:
        """Updates one block of parameters in place."""
        p, g = self.flat[block], self.grad[block]
        change, root = self.scratch[:, : p.size]
        if self.optimizer == "sgd":
            np.subtract(p, np.multiply(g, self.number(self.learning_rate), change), p)
            return
        m, v = (moment[block] for moment in self.moments)
        np.subtract(g, m, change)
        np.multiply(change, self.number(1 - BETA1), change)
        np.add(m, change, m)
        np.multiply(g, g, change)
        np.subtract(change, v, change)
        np.multiply(change, self.number(1 - BETA2), change)
        np.add(v, change, v)
        np.multiply(np.sqrt(v, root), self.number(1 / np.sqrt(1 - BETA2**self.steps)), root)
        np.add(root, self.number(EPSILON), root)
        np.divide(m, root, change)
        np.multiply(change, self.number(self.learning_rate / (1 - BETA1**self.steps)), change)
        np.subtract(p, change, p)
