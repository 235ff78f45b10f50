"""Scalar formulas as plain Python loops, central differences, and error bounds, all in float64."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)


def draw(*shape: int, seed: int = 0) -> Array:
    """Uniform random numbers in [-2, 2)."""
    return np.random.default_rng([seed, *shape]).uniform(-2.0, 2.0, shape)


def assert_same(actual: object, expected: object, operations: int, scale: float = 1.0) -> None:
    """Asserts equality up to the rounding of `operations` operations on numbers up to `scale`."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    size = max(scale, float(np.max(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(actual, expected, rtol=0.0, atol=operations * EPS * size)


def central_differences(function: Callable[[], float], x: Array) -> tuple[Array, Array]:
    """The derivative of the function by each entry of x, and an error bound. x is changed and restored.

    The bound is the difference from the result with step 2h, which is three times the truncation error
    h^2/6 |f'''|, plus the rounding of the values, estimated as that of 30 operations, divided by 2h.
    """
    gradient, bound = np.empty(x.shape), np.empty(x.shape)
    for index in np.ndindex(x.shape):
        middle = x[index]
        h = EPS ** (1 / 3) * max(1.0, abs(middle))
        points, values = [], []
        for steps in (1, -1, 2, -2):
            x[index] = middle + steps * h
            points.append(float(x[index]))
            values.append(function())
        x[index] = middle
        gradient[index] = (values[0] - values[1]) / (points[0] - points[1])
        wide = (values[2] - values[3]) / (points[2] - points[3])
        rounding = 30 * EPS * max(1.0, *(abs(v) for v in values)) / h
        bound[index] = abs(wide - gradient[index]) + rounding
    return gradient, bound


def assert_gradient(function: Callable[[], float], x: Array, gradient: Array) -> None:
    expected, bound = central_differences(function, x)
    actual = np.asarray(gradient)
    assert actual.shape == expected.shape
    # A wider bound could accept a wrong gradient.
    assert np.all(bound < 1e-6 * max(1.0, float(np.max(np.abs(expected)))))
    assert np.all(np.abs(actual - expected) <= bound), f"{actual}\n{expected}\n{bound}"


def sigmoid(z: float) -> float:
    return 1.0 / (1.0 + math.exp(-z))


def softmax(z: Sequence[float]) -> list[float]:
    exponentials = [math.exp(z_k - max(z)) for z_k in z]
    return [e / sum(exponentials) for e in exponentials]


def layer(x: Sequence[float], weight: Array, bias: Array) -> list[float]:
    """z_k = sum_i w_ki x_i + b_k for one sample."""
    z = []
    for k in range(weight.shape[0]):
        z_k = float(bias[k])
        for i in range(weight.shape[1]):
            z_k += float(weight[k, i]) * float(x[i])
        z.append(z_k)
    return z


def back(delta: Sequence[float], weight: Array) -> list[float]:
    """sum_k delta_k w_ki for one sample."""
    return [
        sum(delta[k] * float(weight[k, i]) for k in range(weight.shape[0])) for i in range(weight.shape[1])
    ]


def one_hot(labels: NDArray[np.int64], classes: int) -> Array:
    return np.array([[1.0 if k == label else 0.0 for k in range(classes)] for label in labels])


def soft_labels(samples: int, classes: int) -> Array:
    y = np.abs(draw(samples, classes, seed=9))
    return y / y.sum(axis=1, keepdims=True)
