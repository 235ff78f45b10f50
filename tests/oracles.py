"""Independent formulas, a line for each entry, in NumPy float64: what the core is compared with."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: The loss of every sample: (prediction (B, O), target, parameters by name) -> (B,).
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
    "gaussian_nll": lambda a, y: sum((s + (m - y) ** 2 / np.exp(s)) / 2 for m, s in [np.split(a, 2, 1)]).sum(
        1
    ),
}
