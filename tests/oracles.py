"""Independent formulas for every entry of the core's tables. An entry without a formula fails the tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def erf(z: Array) -> Array:
    """The error function of z / sqrt(2)."""
    return np.vectorize(math.erf)(z / math.sqrt(2))


def tanh_of_gelu(z: Array) -> Array:
    return np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))


#: Activations, elementwise or by row: (z (B, O), parameters by name) -> a.
ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: z * (z > 0),
    "softmax": lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
    "log_softmax": lambda z: z - np.log(np.exp(z).sum(axis=1, keepdims=True)),
    "leaky_relu": lambda z, negative_slope: np.where(z > 0, z, negative_slope * z),
    "gelu": lambda z, approximate: z * (1 + {"none": erf, "tanh": tanh_of_gelu}[approximate](z)) / 2,
    "silu": lambda z: z / (1 + np.exp(-z)),
    "softsign": lambda z: z / (1 + abs(z)),
}

#: Losses of each sample: (prediction (B, O), target, parameters by name) -> (B,).
LOSSES: dict[str, Callable[..., Array]] = {
    "half_squared_error": lambda a, y: 0.5 * ((a - y) ** 2).sum(axis=1),
    "mean_squared_error": lambda a, y: ((a - y) ** 2).mean(axis=1),
    "cross_entropy": lambda a, y: -(y * np.log(a)).sum(axis=1),
    "binary_cross_entropy": lambda a, y: -(y * np.log(a) + (1 - y) * np.log1p(-a)).sum(axis=1),
    "softmax_cross_entropy": lambda z, y: (y * (np.log(np.exp(z).sum(1, keepdims=True)) - z)).sum(axis=1),
    "sigmoid_cross_entropy": lambda z, y: (np.log1p(np.exp(z)) - y * z).sum(axis=1),
    "huber": lambda a, y, delta: np.where(
        abs(a - y) <= delta, (a - y) ** 2 / 2, delta * (abs(a - y) - delta / 2)
    ).mean(axis=1),
    "mean_absolute_error": lambda a, y: abs(a - y).mean(axis=1),
    "log_cosh": lambda a, y: np.log(np.cosh(a - y)).mean(axis=1),
    "gaussian_nll": lambda a, y: sum((s + (m - y) ** 2 / np.exp(s)) / 2 for m, s in [np.split(a, 2, 1)]).sum(
        1
    ),
}

Kept = dict[str, Any]  # an optimizer's state by name; missing entries count as 0


def keep(kept: Kept, name: str, value: Array) -> Array:
    kept[name] = value
    return value


def mean(kept: Kept, name: str, decay: float, value: Array) -> Array:
    """An exponential moving average."""
    return keep(kept, name, decay * kept.get(name, 0.0) + (1.0 - decay) * value)


def add(kept: Kept, name: str, decay: float, value: Array) -> Array:
    """A decaying sum, such as momentum."""
    return keep(kept, name, decay * kept.get(name, 0.0) + value)


def nesterov(o: SimpleNamespace, g: Array, kept: Kept) -> Array:
    return g + o.momentum * add(kept, "m", o.momentum, g)


def spread(o: SimpleNamespace, g: Array, kept: Kept) -> Array:
    """The divisor of RMSprop."""
    square = mean(kept, "v", o.alpha, g * g)
    if o.centered:
        square = np.maximum(square - mean(kept, "a", o.alpha, g) ** 2, 0.0)
    return np.sqrt(square) + o.epsilon


def adam(o: SimpleNamespace, t: int, g: Array, kept: Kept) -> Array:
    root = np.sqrt(mean(kept, "v", o.beta2, g * g) / (1.0 - o.beta2**t)) + o.epsilon
    return mean(kept, "m", o.beta1, g) / (1.0 - o.beta1**t) / root


# The factor of the learning rate in step t = 1, 2, ..., from an optimizer's hyperparameters o, a gradient g
# that includes l2, and the state s.
OPTIMIZERS: dict[str, Callable[[SimpleNamespace, int, Array, Kept], Array]] = {
    "sgd": lambda o, t, g, s: nesterov(o, g, s) if o.nesterov else add(s, "m", o.momentum, g),
    "adam": adam,
    "adamw": adam,
    "adamax": lambda o, t, g, s: (
        mean(s, "m", o.beta1, g)
        / (1 - o.beta1**t)
        / keep(s, "u", np.maximum(o.beta2 * s.get("u", 0.0), np.abs(g) + o.epsilon))
    ),
    "rmsprop": lambda o, t, g, s: add(s, "m", o.momentum, g / spread(o, g, s)),
    "adagrad": lambda o, t, g, s: (
        g / (np.sqrt(o.initial_accumulator_value + add(s, "v", 1.0, g * g)) + o.epsilon)
    ),
}
