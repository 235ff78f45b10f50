"""What a peer measures: one job, a call that is repeated, and the numbers by which its result is checked."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from nncore._cli.workloads import Workload

CHECKED_STEPS = 3
SAMPLE = 2000  # numbers of an array that are compared


class Unsupported(Exception):  # noqa: N818 - not an error: a peer lacks something, and says what
    """The peer cannot do this."""


class Job(NamedTuple):
    """`run` is one unit of `calls` steps, predictions or products; `finish` waits for what it began; all of a
    turn's units run in the context `around`.
    """

    run: Callable[[], object]
    calls: int = 1
    finish: Callable[[], object] = lambda: None
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    check: Mapping[str, Sequence[float]] = {}
    variant: Mapping[str, str] = {}  # what of the workload the peer does otherwise: {"activation": "relu"}


class Peer(NamedTuple):
    """A library: its distributions, and a function for each mode that it has, of the case measured."""

    versions: Mapping[str, str]
    modes: Mapping[str, Callable[..., Job]]


def versions(*distributions: str) -> dict[str, str]:
    """The versions of some distributions."""
    return {name: importlib.metadata.version(name) for name in distributions}


def sample(array: Any) -> list[float]:
    """Some numbers of an array, spread over it."""
    flat = np.asarray(array, np.float64).ravel()
    return flat[:: max(1, flat.size // SAMPLE)].tolist()


def check_training(steps: Iterable[float], weights: Callable[[], Sequence[Any]]) -> dict[str, list[float]]:
    """The losses of the first steps, and what they change in each weight, (I, O)."""
    before = [sample(weight) for weight in weights()]
    losses = [float(loss) for _, loss in zip(range(CHECKED_STEPS), steps, strict=False)]
    changes = np.concatenate(
        [np.subtract(sample(weight), old) for weight, old in zip(weights(), before, strict=True)]
    )
    return {"losses": losses, "changes": changes.tolist()}


def batches(workload: Workload, x: Any, y: Any) -> list[tuple[Any, Any]]:
    """The batches of an epoch, not shuffled."""
    size = workload.batch
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def repeated(epoch: Callable[[Workload], Job], workload: Workload, epochs: int) -> Job:
    """The job of several epochs, from that of one."""
    job = epoch(workload)

    def run() -> None:
        for _ in range(epochs):
            job.run()

    return job._replace(run=run, calls=job.calls * epochs, check={})
