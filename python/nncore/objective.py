"""Objectives: the losses of a model's outputs, planned by the core or computed by Python functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .data import each
from .losses import Loss, LossFunction, as_loss

if TYPE_CHECKING:
    from .model import Model
    from .optimizers import Optimizer

Arrays: TypeAlias = Sequence[NDArray[Any]]
LossSpec: TypeAlias = str | Loss | LossFunction
Losses: TypeAlias = LossSpec | Sequence[LossSpec | None] | Mapping[str, LossSpec]
LossWeights: TypeAlias = Sequence[float] | Mapping[str, float] | None
Tick: TypeAlias = Callable[[int, float], object]

_ROWS_AT_ONCE = 4096  # of a loss without gradients: bounds the memory of its intermediate values


class Term(NamedTuple):
    """The loss of one output and its weight in the sum."""

    output: int
    name: str
    loss: Loss | LossFunction
    weight: float


class Objective(Protocol):
    """What a training step makes small. x holds an array an input, y one a term."""

    terms: list[Term]

    def loss(self, x: Arrays, y: Arrays, sample_weight: NDArray[Any] | None) -> float:
        """The loss, nothing else."""

    def loss_and_gradients(
        self, x: Arrays, y: Arrays, sample_weight: NDArray[Any] | None, accumulate: bool
    ) -> float:
        """The loss; the store's gradients are filled or added to."""

    def train_step(
        self, x: Arrays, y: Arrays, sample_weight: NDArray[Any] | None, optimizer: Optimizer
    ) -> float:
        """One whole step; returns its loss."""

    def train_epoch(
        self,
        x: Arrays,
        y: Arrays,
        sample_weight: NDArray[Any] | None,
        optimizer: Optimizer,
        batch_size: int,
        rows: NDArray[np.int64] | None,
        tick: Tick,
    ) -> float:
        """Steps over all rows, in the order of `rows`; returns the mean loss."""


def make_objective(model: Model, loss: Losses, weights: LossWeights = None) -> Objective:
    """The objective of one loss, or of one for each output (a list with None for outputs that have none, or
    a dict by output name), summed with weights. ValueError for losses that do not fit their outputs.
    """
    terms = _terms(model.output_names, loss, weights)
    if all(isinstance(term.loss, Loss) for term in terms):
        return PlannedObjective(model, terms)
    if any(isinstance(term.loss, Loss) for term in terms):
        raise ValueError("either all losses are the library's, or all are Python functions; given a mix")
    return PythonObjective(model, terms)


class PlannedObjective:
    """Losses of the core: a step is one call without Python in between."""

    def __init__(self, model: Model, terms: list[Term]) -> None:
        self.terms = terms
        self._model = model
        self._network = model.network
        rows = [(term.loss.kind, term.output, term.weight) for term in terms if isinstance(term.loss, Loss)]
        self._plan = self._network.plan(rows)

    def loss(self, x: Arrays, y: Arrays, sample_weight: NDArray[Any] | None) -> float:
        """The loss, from some thousand rows at a time."""
        count = len(x[0])
        if count <= _ROWS_AT_ONCE or (sample_weight is not None and not sample_weight.any()):
            return self._network.loss(self._plan, x, y, sample_weight)
        total = weight = 0.0
        for first in range(0, count, _ROWS_AT_ONCE):
            some = slice(first, first + _ROWS_AT_ONCE)
            part = None if sample_weight is None else sample_weight[some]
            part_weight = float(len(x[0][some]) if part is None else part.sum(dtype=np.float64))
            if part_weight > 0:
                mean = self._network.loss(self._plan, [a[some] for a in x], [a[some] for a in y], part)
                total, weight = total + part_weight * mean, weight + part_weight
        return total / weight

    def loss_and_gradients(
        self, x: Arrays, y: Arrays, sample_weight: NDArray[Any] | None, accumulate: bool
    ) -> float:
        """The loss; the store's gradients are filled or added to."""
        return self._network.loss_and_gradients(self._plan, x, y, sample_weight, accumulate)

    def train_step(
        self, x: Arrays, y: Arrays, sample_weight: NDArray[Any] | None, optimizer: Optimizer
    ) -> float:
        """One whole step; returns its loss."""
        state = optimizer.state(self._model.store)
        return self._network.train_step(self._plan, x, y, optimizer.core, state, None, sample_weight)

    def train_epoch(
        self,
        x: Arrays,
        y: Arrays,
        sample_weight: NDArray[Any] | None,
        optimizer: Optimizer,
        batch_size: int,
        rows: NDArray[np.int64] | None,
        tick: Tick,
    ) -> float:
        """A whole epoch in one call."""
        state = optimizer.state(self._model.store)
        result = self._network.train_epoch(
            self._plan, x, y, batch_size, optimizer.core, state, rows, sample_weight, tick
        )
        return result.mean_loss


class PythonObjective:
    """Losses that are functions loss(output, y) -> (value, gradient with respect to the output)."""

    def __init__(self, model: Model, terms: list[Term]) -> None:
        self.terms = terms
        self._model = model
        self._network = model.network

    def loss(self, x: Arrays, y: Arrays, sample_weight: NDArray[Any] | None) -> float:
        """The loss of the predictions."""
        _refuse(sample_weight)
        return self._evaluate(self._network.predict(x), y)[0]

    def loss_and_gradients(
        self, x: Arrays, y: Arrays, sample_weight: NDArray[Any] | None, accumulate: bool
    ) -> float:
        """The loss; the store's gradients are filled or added to."""
        _refuse(sample_weight)
        value, gradients = self._evaluate(self._network.forward(x), y)
        self._network.backward(gradients, accumulate, False)
        return value

    def train_step(
        self, x: Arrays, y: Arrays, sample_weight: NDArray[Any] | None, optimizer: Optimizer
    ) -> float:
        """One whole step; returns its loss."""
        _refuse(sample_weight)
        return self._step(x, y, optimizer, None)

    def train_epoch(
        self,
        x: Arrays,
        y: Arrays,
        sample_weight: NDArray[Any] | None,
        optimizer: Optimizer,
        batch_size: int,
        rows: NDArray[np.int64] | None,
        tick: Tick,
    ) -> float:
        """A call for every step."""
        _refuse(sample_weight)
        order = np.arange(len(x[0])) if rows is None else rows
        loss_sum = 0.0
        for step, first in enumerate(range(0, len(order), batch_size), start=1):
            batch = order[first : first + batch_size]
            loss_sum += self._step(x, [array[batch] for array in y], optimizer, batch) * len(batch)
            tick(step, loss_sum / (first + len(batch)))
        return loss_sum / len(order)

    def _step(self, x: Arrays, y: Arrays, optimizer: Optimizer, rows: NDArray[np.int64] | None) -> float:
        state = optimizer.state(self._model.store)
        evaluate = lambda outputs: self._evaluate(outputs, y)  # noqa: E731
        return self._network.train_step_with(evaluate, x, optimizer.core, state, rows)

    def _evaluate(self, outputs: list[NDArray[Any]], y: Arrays) -> tuple[float, list[NDArray[Any]]]:
        total = 0.0
        gradients: list[NDArray[Any] | None] = [None] * len(outputs)
        for term, target in zip(self.terms, y, strict=True):
            output = outputs[term.output]
            value, gradient = _call(term, output, target)
            weighted = gradient if term.weight == 1.0 else gradient * output.dtype.type(term.weight)
            gradients[term.output] = weighted
            total += term.weight * value
        filled = [np.zeros_like(o) if g is None else g for o, g in zip(outputs, gradients, strict=True)]
        return total, filled


def _call(term: Term, output: NDArray[Any], target: NDArray[Any]) -> tuple[float, NDArray[Any]]:
    """What a Python loss says of one output, checked."""
    assert not isinstance(term.loss, Loss)
    answer = term.loss(output, target)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise TypeError(
            f"the loss of output {term.name!r} must return (value, gradient); given {type(answer).__name__}"
        )
    gradient = np.ascontiguousarray(answer[1], dtype=output.dtype)
    if gradient.shape != output.shape:
        raise ValueError(
            f"the gradient that the loss of output {term.name!r} returns must have the shape of "
            f"the output, {output.shape}; given {gradient.shape}"
        )
    return float(answer[0]), gradient


def _refuse(sample_weight: NDArray[Any] | None) -> None:
    if sample_weight is not None:
        raise ValueError(
            "sample_weight needs one of the library's losses; a Python loss weighs its samples itself"
        )


def _terms(names: Sequence[str], loss: Losses, weights: LossWeights) -> list[Term]:
    given = _for_each_output(loss, names, "loss")
    chosen = {name: as_loss(item) for name, item in given.items() if item is not None}
    if not chosen:
        raise ValueError("loss names none; at least one output needs one")
    scale = dict.fromkeys(names, 1.0)
    if weights is not None:
        scale.update((k, float(v)) for k, v in _for_each_output(weights, names, "loss_weights").items())
    return [Term(i, name, chosen[name], scale[name]) for i, name in enumerate(names) if name in chosen]


def _for_each_output(given: Any, names: Sequence[str], argument: str) -> dict[str, Any]:
    """What is given for some outputs by name; a list of one is allowed where there is one output."""
    if isinstance(given, Mapping):
        subset = [name for name in names if name in given]
        each(given, subset if set(given) <= set(names) else names, argument)  # complains of unknown names
        return dict(given)
    if len(names) == 1 and isinstance(given, (list, tuple)) and len(given) == 1:
        given = given[0]
    return dict(zip(names, (item for _, item in each(given, names, argument)), strict=True))
