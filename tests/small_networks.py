"""Small networks built directly on nncore._core, for the tests of the bindings."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nncore import _core

DTYPES = [np.float32, np.float64]
HALF_SQUARED_ERROR = [(_core.Loss("half_squared_error"), 0, 1.0)]
CROSS_ENTROPY = [(_core.Loss("softmax_cross_entropy"), 0, 1.0)]


def of_dtype(base: str, dtype: DTypeLike) -> Any:
    return getattr(_core, f"{base}_{np.dtype(dtype).name}")


def chain(
    widths: list[int], dtype: DTypeLike = np.float32, terms: list[Any] | None = None
) -> SimpleNamespace:
    """Dense layers with tanh in between, an objective, and Adam with its own state."""
    segments, nodes = [], [_core.Node.input("x", widths[0])]
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        if i > 0:
            nodes.append(_core.Node.make("tanh", f"{i}.tanh", [len(nodes) - 1]))
        weight = _core.Segment(f"{i}.weight", (outputs, inputs), initializer="glorot_uniform")
        segments += [weight, _core.Segment(f"{i}.bias", (outputs,))]
        sizes = {"in_features": inputs, "out_features": outputs}
        nodes.append(_core.Node.make("dense", f"{i}", [len(nodes) - 1], [2 * i, 2 * i + 1], attributes=sizes))
    store = of_dtype("Parameters", dtype)(segments)
    store.initialize(0)
    network = of_dtype("Network", dtype)(_core.Graph(nodes, [len(nodes) - 1]), store)
    optimizer = _core.Optimizer("adam", learning_rate=0.01)
    return SimpleNamespace(
        network=network,
        store=store,
        objective=network.plan(terms or HALF_SQUARED_ERROR),
        optimizer=optimizer,
        state=of_dtype("OptimizerState", dtype)(optimizer, store),
    )


def train_step(model: SimpleNamespace, x: NDArray, y: NDArray, **options: Any) -> float:
    loss: float = model.network.train_step(model.objective, x, y, model.optimizer, model.state, **options)
    return loss


def train_epoch(model: SimpleNamespace, x: NDArray, y: NDArray, batch_size: int = 4, **options: Any) -> Any:
    return model.network.train_epoch(
        model.objective, [x], [y], batch_size, model.optimizer, model.state, **options
    )


def draw(*shape: int, seed: int = 0, dtype: DTypeLike = np.float32) -> NDArray:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, shape).astype(dtype)


def snapshot(model: SimpleNamespace) -> list[bytes]:
    arrays = [model.store.values, model.store.gradients, *model.state.slots.values()]
    return [array.tobytes() for array in arrays] + [str(model.state.steps).encode()]


@contextmanager
def unchanged(model: SimpleNamespace) -> Iterator[None]:
    before = snapshot(model)
    yield
    assert snapshot(model) == before
