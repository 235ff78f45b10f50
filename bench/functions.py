"""Functions and matrix products at the grid's shapes: their cases, arguments and float64 references.

A case is a name and a shape: (M, K, N) for products, (rows, inputs, outputs) for dense layers, and
(rows, columns) otherwise. All sides get the same C-contiguous memory: x (B, I), weight (I, O), gradients
(B, O).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nncore._cli.workloads import Workload

from .job import sample

Arrays = dict[str, Any]
SQUARES = (128, 256, 512, 1024, 2048)
ELEMENTWISE = ("relu", "tanh", "sigmoid")
ROWWISE = ("softmax", "log_softmax")
LOSSES = {  # whether the predictions are probabilities, and whether the targets are classes
    "mean_squared_error": (False, False),
    "half_squared_error": (False, False),
    "sigmoid_cross_entropy": (False, False),
    "binary_cross_entropy": (True, False),
    "softmax_cross_entropy": (False, True),
    "cross_entropy": (True, True),
}
BINARY = (
    "sigmoid_cross_entropy",
    "binary_cross_entropy",
)  # of one output: over several outputs, some libraries average and some add


def product_cases(grid: Iterable[Workload]) -> list[tuple[str, tuple[int, ...]]]:
    """All products of the grid's steps, and products of square matrices."""
    cases = {}
    for workload in grid:
        for number, (inputs, outputs) in enumerate(pairwise(workload.sizes)):
            cases["forward", (workload.batch, inputs, outputs)] = None
            cases["grad_weight", (inputs, workload.batch, outputs)] = None
            if number:
                cases["grad_x", (workload.batch, outputs, inputs)] = None
    return [*cases, *(("forward", (size, size, size)) for size in SQUARES)]


def function_cases(grid: Iterable[Workload]) -> list[tuple[str, tuple[int, ...]]]:
    """All layers, activations and losses of the grid's steps."""
    cases = {}
    for workload in grid:
        batch, last = workload.batch, workload.sizes[-1]
        for number, (inputs, outputs) in enumerate(pairwise(workload.sizes), 2):
            kind = workload.activation if number < len(workload.sizes) else workload.output
            cases[f"dense_forward {kind}", (batch, inputs, outputs)] = None
            cases["dense_backward", (batch, inputs, outputs)] = None
            if number < len(workload.sizes):
                for name in ELEMENTWISE:
                    cases[name, (batch, outputs)] = cases[f"{name}_backward", (batch, outputs)] = None
        for name in ROWWISE if last > 1 else ():
            cases[name, (batch, last)] = cases[f"{name}_backward", (batch, last)] = None
        for name, (_, has_classes) in LOSSES.items():
            if has_classes == (workload.loss == "softmax_cross_entropy") and (
                last == 1 or name not in BINARY
            ):
                cases[name, (batch, last)] = None
    return sorted(cases, key=lambda case: case[0])


def arguments(name: str, shape: Sequence[int]) -> Arrays:
    """Random arrays for a function, in the order of its parameters."""
    random = np.random.default_rng(0)

    def normal(*size: int) -> Any:
        return random.standard_normal(size, np.float32)

    if name in ("forward", "grad_weight", "grad_x"):
        rows, depth, columns = shape
        left = normal(depth, rows).T if name == "grad_weight" else normal(rows, depth)
        return {
            "left": left,
            "right": normal(columns, depth).T if name == "grad_x" else normal(depth, columns),
        }
    if name.startswith("dense"):
        rows, inputs, outputs = shape
        x, weight = normal(rows, inputs), normal(inputs, outputs) / np.float32(inputs**0.5)
        if name == "dense_backward":
            return {"grad_output": normal(rows, outputs), "x": x, "weight": weight}
        return {"x": x, "weight": weight, "bias": normal(outputs)}
    values = normal(*shape)
    if name.endswith("_backward"):
        output = FORMULAS[name.removesuffix("_backward")](values)
        return {"grad_output": normal(*shape), "output": output.astype(np.float32)}
    if name in LOSSES:
        is_probability, has_classes = LOSSES[name]
        if is_probability:
            values = (softmax(values) if has_classes else sigmoid(values)).astype(np.float32)
        classes = random.integers(0, shape[1], shape[0])
        return {"prediction": values, "target": classes if has_classes else random.random(shape, np.float32)}
    return {"z": values}


def reference(name: str, shape: Sequence[int]) -> dict[str, list[float]]:
    """The results, computed in float64."""
    given = [a.astype(np.float64) if a.dtype == np.float32 else a for a in arguments(name, shape).values()]
    name, _, activation = name.partition(" ")
    if activation:
        return results(FORMULAS[activation](FORMULAS[name](*given)))
    return results(FORMULAS[name](*given))


def results(found: Any) -> dict[str, list[float]]:
    """The arrays and numbers that a function returned, in the form that `check` compares."""
    return {
        f"result {i}": sample(item) for i, item in enumerate(found if isinstance(found, tuple) else (found,))
    }


def sigmoid(z: Any) -> Any:
    """1 / (1 + exp(-z))."""
    return 1 / (1 + np.exp(-z))


def log_softmax(z: Any) -> Any:
    """z minus the logarithm of the sum of exp(z), by row."""
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def softmax(z: Any) -> Any:
    """exp(z) divided by its sum, by row."""
    return np.exp(log_softmax(z))


def one_hot(z: Any, y: Any) -> Any:
    """Class indices as one-hot rows."""
    return np.eye(z.shape[1])[y]


def product(left: Any, right: Any) -> Any:
    """A matrix product."""
    return left @ right


FORMULAS: Mapping[str, Callable[..., Any]] = {
    "forward": product,
    "grad_weight": product,
    "grad_x": product,
    "dense_forward": lambda x, weight, bias: x @ weight + bias,
    "dense_backward": lambda grad, x, weight: (grad @ weight.T, x.T @ grad, grad.sum(axis=0)),
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "relu_backward": lambda grad, a: grad * (a > 0),
    "tanh_backward": lambda grad, a: grad * (1 - a * a),
    "sigmoid_backward": lambda grad, a: grad * a * (1 - a),
    "softmax_backward": lambda grad, a: a * (grad - (grad * a).sum(axis=1, keepdims=True)),
    "log_softmax_backward": lambda grad, a: grad - np.exp(a) * grad.sum(axis=1, keepdims=True),
    "mean_squared_error": lambda a, y: (np.mean((a - y) ** 2), 2 * (a - y) / a.size),
    "half_squared_error": lambda a, y: (np.sum((a - y) ** 2) / 2 / len(a), (a - y) / len(a)),
    "sigmoid_cross_entropy": lambda z, y: (np.mean(np.logaddexp(0, z) - y * z), (sigmoid(z) - y) / z.size),
    "binary_cross_entropy": lambda p, y: (
        -np.mean(y * np.log(p) + (1 - y) * np.log1p(-p)),
        (p - y) / (p * (1 - p)) / p.size,
    ),
    "softmax_cross_entropy": lambda z, y: (
        -np.mean(log_softmax(z)[np.arange(len(z)), y]),
        (softmax(z) - one_hot(z, y)) / len(z),
    ),
    "cross_entropy": lambda p, y: (
        -np.mean(np.log(p[np.arange(len(p)), y])),
        -one_hot(p, y) / p / len(p),
    ),
}
