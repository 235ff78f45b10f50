"""The grid of training problems for the benchmarks, with the minimum work of a step of each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Small enough that thousands of steps do not drive gradients to subnormal numbers; for SGD large enough that
# float32 parameters still change.
LEARNING_RATES = {"adam": 1e-6, "sgd": 1e-3}


class Workload(NamedTuple):
    """A network, its loss and optimizer, the rows in a batch, and the batches in an epoch."""

    name: str
    sizes: tuple[int, ...]
    activation: str  # of the hidden layers
    loss: str
    batch: int
    batches: int  # enough that the cost of an epoch beyond its steps is small
    output: str = "identity"
    optimizer: str = "adam"
    zeros: float = 0.0  # the fraction of inputs that are zero

    @property
    def label(self) -> str:
        """A readable description."""
        sizes, zeros = "-".join(map(str, self.sizes)), f", {self.zeros:.0%} zeros" if self.zeros else ""
        return f"{sizes} {self.activation}, {self.loss}, batch {self.batch}{zeros}"

    @property
    def learning_rate(self) -> float:
        """The learning rate of the optimizer."""
        return LEARNING_RATES[self.optimizer]

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self.sizes))

    @property
    def step_flops(self) -> int:
        """Flops of a step's products: forward, weight gradients, input gradients except the first layer's."""
        return sum(2 * rows * inner * outputs for rows, inner, outputs in self.products())

    @property
    def step_bytes(self) -> int:
        """The bytes that a step must move: parameters and moments read and written, inputs read."""
        arrays = 3 if self.optimizer == "adam" else 1
        return 4 * (2 * arrays * self.parameters + self.batch * self.sizes[0])

    def predict_flops(self, rows: int) -> int:
        """Flops of a prediction's products."""
        return sum(2 * rows * inputs * outputs for inputs, outputs in pairwise(self.sizes))

    def products(self) -> Iterator[tuple[int, int, int]]:
        """The shapes (M, K, N) of a step's matrix products."""
        for number, (inputs, outputs) in enumerate(pairwise(self.sizes)):
            yield self.batch, inputs, outputs
            yield inputs, self.batch, outputs
            if number:
                yield self.batch, outputs, inputs


GRID = {
    workload.name: workload
    for workload in (
        Workload("tiny", (1, 16, 16, 1), "tanh", "mean_squared_error", 32, 1024),
        Workload("online", (784, 100, 10), "sigmoid", "half_squared_error", 1, 1024, "sigmoid", "sgd"),
        Workload("rl", (8, 64, 64, 4), "tanh", "mean_squared_error", 64, 256),
        Workload("rl256", (17, 256, 256, 6), "relu", "mean_squared_error", 256, 32),
        Workload("tabular", (100, 256, 128, 1), "relu", "sigmoid_cross_entropy", 256, 32),
        Workload("digits", (784, 128, 10), "relu", "softmax_cross_entropy", 64, 64),
        Workload("images", (784, 128, 10), "relu", "softmax_cross_entropy", 64, 64, zeros=0.8),
        Workload("digits2", (784, 512, 512, 10), "relu", "softmax_cross_entropy", 128, 16),
        Workload("wide1k", (1024, 1024, 1024, 1024, 10), "relu", "softmax_cross_entropy", 512, 4),
        Workload("wide4k", (4096, 4096, 4096, 10), "relu", "softmax_cross_entropy", 256, 2),
    )
}
# MNIST's shape, cut from 60,000 images to 468 whole batches; dense, and with MNIST's share of zeros.
MNIST = Workload("mnist", (784, 128, 10), "relu", "softmax_cross_entropy", 128, 468)
FITS = {workload.name: workload for workload in (MNIST, MNIST._replace(name="mnist images", zeros=0.8))}
WORKLOADS = GRID | FITS


def data(workload: Workload, rows: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Random inputs (rows, I), and targets: classes (rows,) or values (rows, O).

    A larger number of rows extends the inputs and leaves the first ones the same.
    """
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, workload.sizes[0]), np.float32)
    if workload.zeros:
        x[np.random.default_rng(2).random(x.shape, np.float32) < workload.zeros] = 0
    if workload.loss == "softmax_cross_entropy":
        return x, random.integers(0, workload.sizes[-1], rows)
    if workload.loss == "sigmoid_cross_entropy":
        return x, random.integers(0, 2, (rows, workload.sizes[-1])).astype(np.float32)
    return x, random.random((rows, workload.sizes[-1]), np.float32)


def initial_parameters(workload: Workload) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """The initial weights (I, O) and biases (O,) that all sides share."""
    random = np.random.default_rng(1)
    weights = [
        random.standard_normal((inputs, outputs), np.float32) * np.float32(inputs**-0.5)
        for inputs, outputs in pairwise(workload.sizes)
    ]
    biases = [random.standard_normal(outputs, np.float32) * np.float32(0.1) for outputs in workload.sizes[1:]]
    return weights, biases
