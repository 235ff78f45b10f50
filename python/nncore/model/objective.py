"""Objectives: the losses of a model's outputs, computed by the core or by Python functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from .. import _core
from .._arrays import as_numbers, each
from .._errors import check_number
from ..graph import Layer
from ..losses import Loss, as_loss
from ..losses.base import LossFunction
from ..optimizers import Optimizer
from .parameter_store import ParameterStore
from .reading import Arrays, Reader, Samples, Term

if TYPE_CHECKING:
    from numpy.typing import NDArray

LossSpec: TypeAlias = "str | Loss | LossFunction"
Losses: TypeAlias = "LossSpec | Sequence[LossSpec | None] | Mapping[str, LossSpec]"
LossWeights: TypeAlias = Sequence[float] | Mapping[str, float] | None
Order: TypeAlias = "NDArray[np.int64] | None"
Tick: TypeAlias = Callable[[int, float], object]


class Planned(Protocol):
    """The interface that an objective needs of a model."""

    output_names: list[str]
    reader: Reader

    @property
    def network(self) -> _core.Network_float32:
        """The core's network."""

    @property
    def store(self) -> ParameterStore:
        """The store of its parameters."""


class Objective(Protocol):
    """The quantity that training minimizes."""

    terms: list[Term]
    read: Callable[..., Samples]  # Reader.samples for the terms

    def loss(self, samples: Samples) -> float:
        """The loss, without gradients."""

    def loss_and_gradients(
        self, x: Any, y: Any, sample_weight: Any, accumulate: bool, training: bool
    ) -> float:
        """The loss of a user's batch. Sets the store's gradients, or adds to them with `accumulate`."""

    def train_step(self, x: Any, y: Any, sample_weight: Any, optimizer: Optimizer) -> float:
        """Makes one step on a user's batch and returns its loss."""

    def train_epoch(
        self, samples: Samples, optimizer: Optimizer, batch_size: int, order: Order, tick: Tick
    ) -> float:
        """Makes steps over all samples, in the given order if any, and returns the mean loss."""


def make_objective(model: Planned, loss: Losses, weights: LossWeights = None) -> Objective:
    """The objective of one loss, or of a weighted sum of one loss per output.

    Several losses are a list (None: no loss for that output) or a dict by output name. Raises ValueError for
    a loss that does not suit its output.
    """
    terms = _terms(model.output_names, loss, weights)
    if all(isinstance(term.loss, Loss) for term in terms):
        return PlannedObjective(model, terms)
    if any(isinstance(term.loss, Loss) for term in terms):
        raise ValueError("losses must all be the library's or all be Python functions; got a mix")
    return PythonObjective(model, terms)


class PlannedObjective(Objective):
    """Losses of the core. A step or a whole epoch is one call, without Python in between."""

    def __init__(self, model: Planned, terms: list[Term]) -> None:
        self.terms, self.read = terms, partial(model.reader.samples, terms)
        self._store, self._network = model.store, model.network
        rows = [(term.loss.core, term.output, term.weight) for term in terms if isinstance(term.loss, Loss)]
        self._plan = self._network.plan(rows)
        self._stepping: tuple[Optimizer, Any] | None = None  # the optimizer of the last step, and its state

    def loss(self, samples: Samples) -> float:
        """The loss, without gradients."""
        self._store.check_not_moved()
        return self._network.loss(self._plan, *samples)

    def loss_and_gradients(
        self, x: Any, y: Any, sample_weight: Any, accumulate: bool, training: bool
    ) -> float:
        """The loss of a user's batch. Sets the store's gradients, or adds to them with `accumulate`."""
        if self._store.moved:  # checked here too: this runs in loops, and the call takes 40 ns
            self._store.check_not_moved()
        return self._network.loss_and_gradients(
            self._plan, x, y, sample_weight, accumulate, training, self.read
        )

    def train_step(self, x: Any, y: Any, sample_weight: Any, optimizer: Optimizer) -> float:
        """Makes one step on a user's batch and returns its loss."""
        if self._store.moved:
            self._store.check_not_moved()
        if self._stepping is None or self._stepping[0] is not optimizer:
            self._stepping = optimizer, optimizer.state(self._store)
        state = self._stepping[1]
        factors = None if optimizer.schedule is None else optimizer.factors(state.steps)
        return self._network.train_step(
            self._plan, x, y, optimizer.core, state, sample_weight, factors, self.read
        )

    def train_epoch(
        self, samples: Samples, optimizer: Optimizer, batch_size: int, order: Order, tick: Tick
    ) -> float:
        """Makes the steps of an epoch in one call and returns the mean loss."""
        self._store.check_not_moved()
        x, y, weight = samples
        state = optimizer.state(self._store)
        count = samples.rows if order is None else len(order)
        factors = optimizer.factor_runs(state.steps, -(-count // batch_size))
        result = self._network.train_epoch(
            self._plan, x, y, batch_size, optimizer.core, state, order, weight, tick, factors
        )
        return result.mean_loss


class PythonObjective(Objective):
    """Losses given as Python functions loss(output, y) -> (value, gradient with respect to the output)."""

    def __init__(self, model: Planned, terms: list[Term]) -> None:
        self.terms, self.read = terms, partial(model.reader.samples, terms)
        self._store, self._network = model.store, model.network

    def loss(self, samples: Samples) -> float:
        """The loss of the predictions, without gradients."""
        self._store.check_not_moved()
        _refuse_weights(samples)
        self._network.check_inputs(samples.x)
        return self._evaluate(as_list(self._network.predict(samples.x)), samples.y)[0]

    def loss_and_gradients(
        self, x: Any, y: Any, sample_weight: Any, accumulate: bool, training: bool
    ) -> float:
        """The loss of a user's batch. Sets the store's gradients, or adds to them with `accumulate`."""
        self._store.check_not_moved()
        samples = self.read(x, y, sample_weight)
        _refuse_weights(samples)
        self._network.check_inputs(samples.x)
        value, gradients = self._evaluate(as_list(self._network.forward(samples.x, training)), samples.y)
        self._network.backward(gradients, accumulate, False)
        return value

    def train_step(self, x: Any, y: Any, sample_weight: Any, optimizer: Optimizer) -> float:
        """Makes one step on a user's batch and returns its loss."""
        self._store.check_not_moved()
        samples = self.read(x, y, sample_weight)
        _refuse_weights(samples)
        return self._step(samples.x, samples.y, optimizer, None)

    def train_epoch(
        self, samples: Samples, optimizer: Optimizer, batch_size: int, order: Order, tick: Tick
    ) -> float:
        """Makes the steps of an epoch, one call each, and returns the mean loss."""
        self._store.check_not_moved()
        _refuse_weights(samples)
        if order is None:
            order = np.arange(samples.rows)
        loss_sum = 0.0
        for step, first in enumerate(range(0, len(order), batch_size), start=1):
            batch = order[first : first + batch_size]
            y = [array[batch] for array in samples.y]
            loss_sum += self._step(samples.x, y, optimizer, batch) * len(batch)
            tick(step, loss_sum / (first + len(batch)))
        return loss_sum / len(order)

    def _step(self, x: Arrays, y: Arrays, optimizer: Optimizer, rows: Order) -> float:
        def evaluate(outputs: list[NDArray[Any]]) -> tuple[float, list[NDArray[Any]]]:
            return self._evaluate(outputs, y)

        state = optimizer.state(self._store)
        factors = optimizer.factors(state.steps)
        return self._network.train_step_with(evaluate, x, optimizer.core, state, rows, factors)

    def _evaluate(self, outputs: list[NDArray[Any]], y: Arrays) -> tuple[float, list[NDArray[Any]]]:
        """The weighted sum of the terms, and its gradient for every output (0 for outputs without a loss)."""
        total = 0.0
        gradients = [np.zeros_like(output) for output in outputs]
        for term, target in zip(self.terms, y, strict=True):
            value, gradient = _call(term, outputs[term.output], target)
            total += term.weight * value
            with np.errstate(over="ignore", invalid="ignore"):
                gradients[term.output] = gradient * gradient.dtype.type(term.weight)
        return total, gradients


def as_list(outputs: Any) -> list[NDArray[Any]]:
    """A network's outputs as a list. A network with one output returns the array itself."""
    return outputs if isinstance(outputs, list) else [outputs]


def _call(term: Term, output: NDArray[Any], target: NDArray[Any]) -> tuple[float, NDArray[Any]]:
    """The value and gradient that a Python loss returns for one output, after checks."""
    assert not isinstance(term.loss, Loss)
    answer = term.loss(output, target)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise TypeError(
            f"the loss of output {term.name!r} must return (value, gradient); got {type(answer).__name__}"
        )
    given = as_numbers(answer[1], f"the gradient that the loss of output {term.name!r} returns")
    with np.errstate(over="ignore"):  # the step raises for infinities, naming the row
        gradient = np.ascontiguousarray(given, dtype=output.dtype)
    if gradient.shape != output.shape:
        raise ValueError(
            f"the gradient that the loss of output {term.name!r} returns must have the shape of "
            f"the output, {output.shape}; got {gradient.shape}"
        )
    return check_number(answer[0], f"the value that the loss of output {term.name!r} returns"), gradient


def _refuse_weights(samples: Samples) -> None:
    if samples.sample_weight is not None:
        raise ValueError(
            "sample_weight must be None with a Python loss, which weights its samples itself; got weights"
        )


def _terms(names: Sequence[str], loss: Losses, weights: LossWeights) -> list[Term]:
    given = _for_each_output(loss, names, "loss")
    for name, item in given.items():
        if isinstance(item, Layer):  # layers are callable too
            raise TypeError(f"loss must be a name, a Loss or a function; got {item} for output {name!r}")
    chosen = {name: as_loss(item) for name, item in given.items() if item is not None}
    if not chosen:
        raise ValueError("loss must be given for at least one output; got none")
    scale = dict.fromkeys(names, 1.0)
    if weights is not None:
        for name, weight in _for_each_output(weights, names, "loss_weights").items():
            scale[name] = check_number(weight, "loss_weights")
            if not isfinite(scale[name]):
                raise ValueError(f"loss_weights must be finite; got {weight} for output {name!r}")
    return [Term(i, name, chosen[name], scale[name]) for i, name in enumerate(names) if name in chosen]


def _for_each_output(given: Any, names: Sequence[str], argument: str) -> dict[str, Any]:
    """What is given for each output, by name. With one output, a list of one item is allowed."""
    if isinstance(given, Mapping):
        subset = [name for name in names if name in given]
        each(given, subset if set(given) <= set(names) else names, argument)  # raises for unknown names
        return dict(given)
    if len(names) == 1 and isinstance(given, (list, tuple)) and len(given) == 1:
        given = given[0]
    return dict(zip(names, (item for _, item in each(given, names, argument)), strict=True))
