"""Computes the metrics that a trainer reports besides the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .._errors import check_number, unknown_name
from ..metrics import Metric, as_metric, counting
from ..model import Model
from ..model.objective import as_list
from ..model.reading import Samples, Term

if TYPE_CHECKING:
    from numpy.typing import NDArray

Metrics: TypeAlias = "Sequence[str | Metric] | Mapping[str, Sequence[str | Metric]]"

#: The library's metrics take samples in chunks of about CHUNK_OUTPUTS outputs and at least FEWEST_ROWS rows.
CHUNK_OUTPUTS, FEWEST_ROWS = 1 << 21, 256


class Column(NamedTuple):
    """A column of the history, which holds a metric of one output."""

    name: str
    term: int  # the index of its term in the objective
    output: int
    metric: Metric


def metric_columns(metrics: Metrics, terms: Sequence[Term], output_count: int) -> list[Column]:
    """A column for each metric of each output with a loss. With several outputs, names include the output."""
    if isinstance(metrics, str) or not isinstance(metrics, (Sequence, Mapping)):
        raise TypeError(f"metrics must be a list, or a dict of lists by output name; got {metrics!r}")
    names = [term.name for term in terms]
    if isinstance(metrics, Mapping):
        for name, chosen in metrics.items():
            if name not in names:
                raise unknown_name("keys of metrics", name, names)
            if isinstance(chosen, str) or not isinstance(chosen, Sequence):
                raise TypeError(f"metrics[{name!r}] must be a list of metrics; got {chosen!r}")
    columns = []
    for place, term in enumerate(terms):
        chosen = metrics.get(term.name, ()) if isinstance(metrics, Mapping) else metrics
        for given in chosen:
            name, metric = as_metric(given, term.loss)
            full = name if output_count == 1 else f"{term.name}_{name}"
            columns.append(Column(full, place, term.output, metric))
    return columns


def check_metrics(columns: Sequence[Column], model: Model, samples: Samples) -> None:
    """Raises the errors of the library's metrics for samples of these shapes, by trying the first sample."""
    for column in columns:
        if (count := counting(column.metric)) is not None:
            y = samples.y[column.term][:1]
            count(y, np.zeros((len(y), model.outputs[column.output].features), model.dtype))


def measure(columns: Sequence[Column], model: Model, samples: Samples) -> dict[str, float]:
    """The metrics over the samples with nonzero weight, with the current parameters. NaN over no samples.

    If all metrics are the library's, only one chunk of outputs exists at a time. Other functions receive all
    outputs at once.
    """
    if not columns:
        return {}
    counted = samples.counted()
    rows = None if counted is None else np.flatnonzero(counted)
    count = samples.rows if rows is None else len(rows)
    of_term = {column.term: samples.counted(column.term) for column in columns}
    chunk = count
    if all(counting(column.metric) is not None for column in columns):
        chunk = max(FEWEST_ROWS, CHUNK_OUTPUTS // sum(value.features for value in model.outputs))
    sums = {column.name: _Sum(column.metric) for column in columns}
    for first in range(0, count, chunk):
        part: Any = slice(first, first + chunk) if rows is None else rows[first : first + chunk]
        outputs = as_list(model.network.predict([x[part] for x in samples.x]))
        for column in columns:
            y, output, mask = samples.y[column.term][part], outputs[column.output], of_term[column.term]
            if mask is not None and not mask[part].all():
                y, output = y[mask[part]], output[mask[part]]
            if len(y) > 0:
                sums[column.name].add(y, output)
    return {name: one.value() for name, one in sums.items()}


class _Sum:
    """Accumulates a metric chunk by chunk."""

    def __init__(self, metric: Metric) -> None:
        self._metric, self._count = metric, counting(metric)
        self._right = self._total = 0
        self._value = math.nan

    def add(self, y: NDArray[Any], output: NDArray[Any]) -> None:
        if self._count is None:
            self._value = _as_number(self._metric(y, output), self._metric)
            return
        right, total = self._count(y, output)
        self._right, self._total = self._right + right, self._total + total
        self._value = self._right / self._total

    def value(self) -> float:
        return self._value


def _as_number(given: Any, metric: Metric) -> float:
    name = getattr(metric, "__name__", type(metric).__name__)
    return check_number(given, f"the value of metric {name!r}")
