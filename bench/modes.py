"""What is measured, mode by mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from nncore.workloads import Workload

from .session import Session

PREDICT_ROWS = (1, 64, 4096)


class Mode(NamedTuple):
    """A title for tables, and the function that measures."""

    title: str
    run: Callable[[Session, Sequence[Workload]], None]


def epoch(session: Session, grid: Sequence[Workload]) -> None:
    """Training in each peer's own loop."""
    for workload in grid:
        session.measure("epoch", {"workload": workload.name}, ("fma", "cache", "memory"))


def step(session: Session, grid: Sequence[Workload]) -> None:
    """Training step by step from Python."""
    for workload in grid:
        session.measure("step", {"workload": workload.name})


def predict(session: Session, grid: Sequence[Workload]) -> None:
    """Predictions from Python."""
    for workload in grid:
        for rows in PREDICT_ROWS:
            session.measure("predict", {"workload": workload.name, "rows": rows})


MODES: Mapping[str, Mode] = {
    "epoch": Mode("Training in the peer's own loop, µs a step", epoch),
    "step": Mode("Training step by step from Python, µs a step", step),
    "predict": Mode("Predictions from Python, µs a call", predict),
}
