"""A peer's jobs: a call to repeat and time, and the numbers that check its result."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from nncore._cli.workloads import Workload

CHECKED_STEPS = 3
SAMPLE = 2000  # how many numbers of an array are compared


class Unsupported(Exception):  # noqa: N818 - not an error: says what a peer lacks
    """The peer does not support this case."""


class Job(NamedTuple):
    """`run` executes one unit of `calls` steps, predictions or products. `finish` waits for work that `run`
    left pending. All units of a turn run in the context `around`.
    """

    run: Callable[[], object]
    calls: int = 1
    finish: Callable[[], object] = lambda: None
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    check: Mapping[str, Sequence[float]] = {}
    variant: Mapping[str, str] = {}  # how the peer departs from the workload: {"activation": "relu"}


class Peer(NamedTuple):
    """A library: the versions of its distributions, and for each supported mode a function of the case."""

    versions: Mapping[str, str]
    modes: Mapping[str, Callable[..., Job]]


def versions(*distributions: str) -> dict[str, str]:
    """The installed versions of distributions."""
    return {name: importlib.metadata.version(name) for name in distributions}


def sample(array: Any) -> list[float]:
    """A sample of an array's numbers, spread evenly over it."""
    flat = np.asarray(array, np.float64).ravel()
    return flat[:: max(1, flat.size // SAMPLE)].tolist()


def check_training(steps: Iterable[float], weights: Callable[[], Sequence[Any]]) -> dict[str, list[float]]:
    """The losses of the first steps, and the resulting changes of each weight (I, O)."""
    before = [sample(weight) for weight in weights()]
    losses = [float(loss) for _, loss in zip(range(CHECKED_STEPS), steps, strict=False)]
    changes = np.concatenate(
        [np.subtract(sample(weight), old) for weight, old in zip(weights(), before, strict=True)]
    )
    return {"losses": losses, "changes": changes.tolist()}


def batches(workload: Workload, x: Any, y: Any) -> list[tuple[Any, Any]]:
    """The batches of an epoch, in order."""
    size = workload.batch
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def repeated(epoch: Callable[[Workload], Job], workload: Workload, epochs: int) -> Job:
    """A job of several epochs, made from a job of one epoch."""
    job = epoch(workload)

    def run() -> None:
        for _ in range(epochs):
            job.run()

    return job._replace(run=run, calls=job.calls * epochs, check={})
