"""`python -m nncore bench`: times training and prediction against NumPy, in about two minutes.

Both sides compute in float32 on one thread, and must agree before they are timed. The NumPy side follows best
practice (numpy_net.py). The sides take turns; the output is each side's median and their ratio, which is
above 1 where nncore is faster.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._core import show_config
from ..layers import Dense
from ..model import Model, mlp
from ..optimizers import SGD, Adam
from ..training import Trainer
from .numpy_net import NumpyNet
from .workloads import GRID, Workload, data, initial_parameters

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

SINGLE = dict.fromkeys(
    ("NNCORE_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1"
)
OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # would keep NumPy from using its best kernels
PREDICT_ROWS = (1, 64)
# Relative differences, in the 2-norm, that float32 rounding may cause between the sides. One sum in a million
# is so close to ReLU's kink that only one side counts it, which changes a gradient by up to 1 % of its norm.
TOLERANCES = {"outputs": 1e-5, "losses": 1e-5, "gradients": 1e-2}


class DisagreementError(Exception):
    """The two sides compute different results, so timing them would be meaningless."""


class Line(NamedTuple):
    """One comparison: medians in microseconds per call."""

    workload: str
    call: str
    rows: int
    numpy_us: float
    nncore_us: float

    @property
    def ratio(self) -> float:
        """NumPy's time divided by nncore's: above 1 if nncore is faster."""
        return self.numpy_us / self.nncore_us


class Sides(NamedTuple):
    """The same call on both sides."""

    call: str
    rows: int
    numpy: Callable[[], object]
    nncore: Callable[[], object]


def make_model(workload: Workload) -> Model:
    """nncore's network, with the initial parameters that all sides share."""
    model = mlp(workload.sizes, workload.activation, workload.output, seed=0)
    set_parameters(model, workload)
    return model


def set_parameters(model: Model, workload: Workload) -> None:
    """Sets the dense layers to the initial parameters that all sides share."""
    for layer, weight, bias in zip(dense_layers(model), *initial_parameters(workload), strict=True):
        layer.weight, layer.bias = weight.T, bias


def make_trainer(workload: Workload) -> Trainer:
    """nncore's trainer for the workload."""
    make = SGD if workload.optimizer == "sgd" else Adam
    return Trainer(make_model(workload), workload.loss, make(workload.learning_rate))


def make_numpy_net(workload: Workload, rows: int, dtype: DTypeLike = np.float32) -> NumpyNet:
    """NumPy's network, with the same initial parameters."""
    weights, biases = initial_parameters(workload)
    return NumpyNet(
        weights,
        biases,
        activation=workload.activation,
        output=workload.output,
        loss=workload.loss,
        optimizer=workload.optimizer,
        learning_rate=workload.learning_rate,
        rows=rows,
        dtype=dtype,
    )


def dense_layers(model: Model) -> list[Dense]:
    """The dense layers, in order."""
    return [layer for layer in model.layers if isinstance(layer, Dense)]


def make_sides(workload: Workload) -> Iterator[Sides]:
    """A training step and predictions. Raises DisagreementError if the sides compute different results."""
    x, y = data(workload, workload.batch)
    trainer, net = make_trainer(workload), make_numpy_net(workload, workload.batch)
    _check_training(workload, trainer, net, x, y)
    yield Sides("step", workload.batch, partial(net.step, x, y), partial(trainer.step, x, y))
    for rows in PREDICT_ROWS:
        x, _ = data(workload, rows)
        model, net = make_model(workload), make_numpy_net(workload, rows)
        out = np.empty((rows, workload.sizes[-1]), np.float32)
        _check_same("outputs", model.predict(x, out), net.forward(x))
        yield Sides("predict", rows, partial(net.forward, x), partial(model.predict, x, out))


def measure(calls: Sequence[Callable[[], object]], rounds: int, seconds: float) -> list[float]:
    """The median microseconds of each call, measured in alternating turns of about `seconds` each."""
    counts = []
    for call in calls:
        begin, count = time.perf_counter(), 0
        while not count or time.perf_counter() - begin < seconds:
            call()
            count += 1
        counts.append(count)
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, count, found in zip(calls, counts, times, strict=True):
            begin = time.perf_counter()
            for _ in range(count):
                call()
            found.append((time.perf_counter() - begin) / count * 1e6)
    return [statistics.median(found) for found in times]


def compare(workloads: Sequence[Workload], rounds: int, seconds: float) -> Iterator[Line]:
    """One line for each workload and call."""
    for workload in workloads:
        for sides in make_sides(workload):
            theirs, ours = measure((sides.numpy, sides.nncore), rounds, seconds)
            yield Line(workload.name, sides.call, sides.rows, theirs, ours)


def blas() -> str:
    """The BLAS kernels that NumPy uses, if threadpoolctl is installed to identify them."""
    try:
        from threadpoolctl import threadpool_info
    except ModuleNotFoundError:
        return "an unknown BLAS (install threadpoolctl to identify it)"
    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    return ", ".join(
        f"{info['internal_api']} {info['version']} ({info.get('architecture')})" for info in found
    )


def run(only: Sequence[str], rounds: int, seconds: float) -> int:
    """Prints the table, in a new process if the environment does not already ask for one thread."""
    environment = {name: value for name, value in os.environ.items() if name not in OVERRIDES} | SINGLE
    if environment != dict(os.environ):
        options = ["--only", ",".join(only), "--rounds", str(rounds), "--seconds", str(seconds)]
        command = [sys.executable, "-m", "nncore", "bench", *options]
        return subprocess.run(command, env=environment, check=False).returncode
    config = show_config()
    print(
        f"nncore {config['version']} on {config['instruction_set']}, {config['num_threads']} thread; "
        f"NumPy {np.__version__} on {blas()}"
    )
    for name in only:
        print(f"{name:8} {GRID[name].label}")
    print(f"\n{'workload':8} {'call':8} {'rows':>5} {'NumPy, µs':>11} {'nncore, µs':>11} {'ratio':>7}")
    try:
        for line in compare([GRID[name] for name in only], rounds, seconds):
            print(
                f"{line.workload:8} {line.call:8} {line.rows:5} {line.numpy_us:11.1f} {line.nncore_us:11.1f} "
                f"{line.ratio:7.2f}",
                flush=True,
            )
    except DisagreementError as difference:
        print(difference, file=sys.stderr)
        return 1
    return 0


def _check_training(workload: Workload, trainer: Trainer, net: NumpyNet, x: Any, y: Any) -> None:
    """Checks that the sides agree on the losses and gradients of three consecutive steps."""
    layers = dense_layers(trainer.model)
    for _ in range(3):
        trainer.model.loss_and_gradients(x, y, workload.loss)
        gradients = [layer.grad_weight.copy() for layer in layers]
        _check_same("losses", trainer.step(x, y), net.step(x, y))
        for gradient, theirs in zip(gradients, net.layers, strict=True):
            _check_same("gradients", gradient, theirs.grad_weight.T)


def _check_same(what: str, ours: NDArray[Any] | float, theirs: NDArray[Any] | float) -> None:
    difference = np.linalg.norm(np.subtract(ours, theirs)) / np.linalg.norm(theirs)
    if not difference <= TOLERANCES[what]:
        raise DisagreementError(
            f"nncore and NumPy differ: {what} by {difference:.1e}, more than {TOLERANCES[what]:.0e}"
        )
