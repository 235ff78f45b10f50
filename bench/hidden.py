"""Networks of the grid with other hidden layers: the cases and the reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nncore._cli import workloads
from nncore._cli.workloads import Workload

RATE = 0.5  # of Dropout, which follows ReLU
VARIANCE_EPSILON = 1e-5  # of BatchNorm, which precedes ReLU
ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "tanh": np.tanh,
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "gelu": lambda z: z / 2 * (1 + np.vectorize(math.erf)(z / math.sqrt(2))),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "batch_norm": lambda z: np.maximum((z - z.mean(0)) / np.sqrt(z.var(0) + VARIANCE_EPSILON), 0),
}
CASES = (
    *(
        (workload, hidden)
        for workload in ("rl", "digits")
        for hidden in ACTIVATIONS
        if hidden != "batch_norm"
    ),
    *(("digits2", hidden) for hidden in ("dropout", "batch_norm")),
)


def first_loss(workload: Workload, hidden: str) -> dict[str, list[float]]:
    """The loss of the first step in float64. Not for dropout, as each library draws its own masks."""
    x, y = (array.astype(np.float64) for array in workloads.data(workload, workload.batch))
    *layers, last = zip(*workloads.initial_parameters(workload), strict=True)
    for weight, bias in layers:
        x = ACTIVATIONS[hidden](x @ weight + bias)
    output = x @ last[0] + last[1]
    if workload.loss == "mean_squared_error":
        return {"losses": [float(np.mean((output - y) ** 2))]}
    largest = output.max(axis=1)
    log_sum = largest + np.log(np.exp(output - largest[:, None]).sum(axis=1))
    return {"losses": [float(np.mean(log_sum - output[np.arange(len(y)), y.astype(int)]))]}
