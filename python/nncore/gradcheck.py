"""Checks gradients against central differences in float64.

For every parameter p, the loss is evaluated at p, p ± h, p ± 2h, p ± 4h and p ± 8h, and two steps of
Richardson extrapolation remove the terms in h^2 and h^4. The remaining error is bounded from observed values.
The bound on the truncation error uses the corrections and the same extrapolation for 2h, as either may vanish
by chance. The bound on the rounding error uses the noise of the loss, measured from a table of differences
(Moré and Wild, Estimating computational noise, 2011). The step is shortened where truncation dominates.

Kinks are found from the values of the loss alone. At a kink, central differences give the mean of two slopes
and look smooth, but the derivatives from the left and from the right differ. Their difference therefore
counts as truncation error. A kink close to p falls outside the differences once the step is short enough. If
the truncation error stays large even for the shortest step, the loss has no derivative at p, and the entry is
left out. The gradient under test plays no part in this, so a wrong one cannot pass for a kink.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from operator import setitem
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _core
from ._errors import check_flag, check_is, check_size
from .model import Model
from .model.objective import Losses, LossWeights, Objective, make_objective
from .model.reading import Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GradientCheck", "check_gradients"]

RELATIVE_TOLERANCE = 1e-7  # for a block: ||g - g_fd|| <= 1e-7 ||g_fd||
_STEPS = tuple(2.0**-exponent for exponent in (10, 13, 16, 19))
_FACTORS = (1, 2, 4, 8)
_FARTHEST = _FACTORS[-1]
#: Weights of the values at these multiples of h, for a one-sided derivative at 0, exact up to degree 4.
_ONE_SIDED = {0: -15 / 8, 1: 64 / 21, 2: -4 / 3, 4: 1 / 6, 8: -1 / 168}
#: Wherever a kink of the loss or its slope lies, the quotient's error is at most 1.08 times the estimate.
_SAFETY = 1.25
_GOOD_ENOUGH = 1e-9  # no shorter step is tried once the error bound, relative to the block, is this small
_EPSILON = float(np.finfo(np.float64).eps)


class Entry(NamedTuple):
    """One parameter: its gradient, its difference quotient, and bounds on the quotient's errors."""

    place: tuple[int, ...]
    gradient: float
    difference: float
    rounding: float
    truncation: float

    @property
    def error(self) -> float:
        """The distance between the gradient and the difference quotient."""
        return abs(self.gradient - self.difference)

    @property
    def allowed(self) -> float:
        """The largest error that is accepted: the bounds on rounding and truncation together."""
        return self.rounding + self.truncation

    @property
    def excess(self) -> float:
        """The error divided by the allowed error. A right gradient has at most 1."""
        if self.error <= self.allowed:  # also where both are 0
            return self.error / self.allowed if self.allowed > 0 else 0.0
        return self.error / self.allowed if self.allowed > 0 else math.inf


class Block(NamedTuple):
    """The check of one array of parameters."""

    name: str
    entries: tuple[Entry, ...]
    kinks: tuple[tuple[int, ...], ...]  # the indices of entries left out, as the loss has a kink there

    @property
    def relative_error(self) -> float:
        """||g - g_fd|| / ||g_fd||, or 0 if both vanish."""
        error = math.hypot(*(entry.error for entry in self.entries))
        size = math.hypot(*(entry.difference for entry in self.entries))
        return 0.0 if error == 0.0 else error / size if size > 0 else math.inf

    @property
    def worst(self) -> Entry | None:
        """The entry with the largest excess. None if all entries are kinks."""
        return max(self.entries, key=_excess, default=None)

    @property
    def ok(self) -> bool:
        """Whether the block passes.

        Each entry must be within its allowed error, and the block within RELATIVE_TOLERANCE or rounding.
        """
        error = math.hypot(*(entry.error for entry in self.entries))
        size = math.hypot(*(entry.difference for entry in self.entries))
        rounding = math.hypot(*(entry.rounding for entry in self.entries))
        within = error <= max(RELATIVE_TOLERANCE * size, rounding)  # false for NaN
        return within and all(entry.excess <= 1.0 for entry in self.entries)


class GradientCheck(NamedTuple):
    """The result of `check_gradients`: a Block for each array of parameters. `print` shows it as a table."""

    blocks: tuple[Block, ...]

    @property
    def ok(self) -> bool:
        """Whether all blocks are ok."""
        return all(block.ok for block in self.blocks)

    @property
    def kinks(self) -> int:
        """The number of entries left out because the loss has a kink there."""
        return sum(len(block.kinks) for block in self.blocks)

    def __str__(self) -> str:
        lines = [f"{'array':16} {'entries':>8} {'kinks':>6} {'relative error':>15}  worst entry"]
        for block in self.blocks:
            worst = "" if block.worst is None else _describe(block.worst)
            lines.append(
                f"{block.name:16} {len(block.entries):8} {len(block.kinks):6} {block.relative_error:15.2e}  "
                f"{'' if block.ok else 'WRONG '}{worst}"
            )
        return "\n".join(lines)


def check_gradients(
    model: Model,
    x: Any,
    y: Any,
    loss: Losses,
    *,
    sample_weight: Any = None,
    loss_weights: LossWeights = None,
    training: bool = False,
    max_entries: int | None = None,
    raise_error: bool = True,
) -> GradientCheck:
    """Compares the gradients of a float64 model with central differences of its loss.

    x, y, loss, sample_weight and loss_weights are as for `Model.loss_and_gradients`. All trainable
    parameters are checked, or at most `max_entries` of each array, the same ones in every call.

    With `training=True`, the loss is that of a training step: dropout draws the same numbers every time, and
    batch normalization uses the statistics of the batch. Parameters, running statistics and the random state
    are restored afterwards. `model.gradients` holds the gradients.

    An array passes if ||g - g_fd|| <= 1e-7 ||g_fd|| (or within rounding, for tiny gradients) and each entry
    is within the rounding and truncation error of its difference quotient. Entries where the loss has a kink
    are counted and left out.

    Raises AssertionError with a table of all arrays if one fails, unless `raise_error` is False, and
    ValueError for a model that is not float64.

    >>> import nncore as nc
    >>> model = nc.mlp([3, 4, 2], activation="tanh", output="softmax", dtype="float64", seed=0)
    >>> nc.check_gradients(model, [[0.1, 0.2, 0.3], [1.0, -1.0, 0.5]], [0, 1], "cross_entropy").ok
    True
    """
    check_is(model, Model, "model")
    training, raise_error = check_flag(training, "training"), check_flag(raise_error, "raise_error")
    if max_entries is not None:
        max_entries = check_size(max_entries, "max_entries")
    if model.dtype != np.float64:
        raise ValueError(f"model must be float64, such as model.copy(dtype='float64'); got {model.dtype}")
    objective = make_objective(model, loss, loss_weights)
    samples = objective.read(x, y, sample_weight)
    if training:
        probe = _Probe(model, lambda: _loss_in_training(model, objective, samples))
        probe.loss()
    else:
        probe = _Probe(model, lambda: objective.loss(samples))
        objective.loss_and_gradients(x, y, sample_weight, False, False)
    found = model.gradients.copy()
    gradients = model.store.split(found, model.segments)
    segments = model.store.core.segments
    before = model.parameters.copy()
    restoring: list[_core._Change] = [
        partial(setitem, model.parameters, ..., before),
        partial(setitem, model.gradients, ..., found),
    ]
    try:
        noise = probe.noise()
        model.parameters[:] = before
        blocks = [
            _check_block(probe, name, view, gradients[name], noise, max_entries)
            for name, view in model.named_parameters().items()
            if segments[model.segments[name]].trainable
        ]
    finally:
        _core.call_together(restoring)
    result = GradientCheck(tuple(blocks))
    if raise_error and not result.ok:
        raise AssertionError(f"gradients differ from central differences:\n{result}")
    return result


def _loss_in_training(model: Model, objective: Objective, samples: Samples) -> float:
    """The loss of a training step. Fills the gradients; keeps running statistics and the random state."""
    core = model.store.core
    restoring: list[_core._Change] = [
        partial(setitem, core.state, ..., core.state.copy()),
        partial(setattr, core, "random_step", core.random_step),
    ]
    x, y = (arrays[0] if len(arrays) == 1 else arrays for arrays in samples[:2])
    try:
        return objective.loss_and_gradients(x, y, samples.sample_weight, False, True)
    finally:
        _core.call_together(restoring)


class _Probe:
    """Evaluates the loss with the current parameters."""

    def __init__(self, model: Model, loss: Callable[[], float]) -> None:
        self.loss = loss
        self._model = model

    def noise(self) -> float:
        """The rounding error of the loss: the larger of that here, which may be small near a minimum, and
        that at the farthest point of the differences.
        """
        flat = self._model.parameters
        random = np.random.default_rng(0)
        here = flat.copy()
        away = here + _FARTHEST * _STEPS[0] * random.choice([-1.0, 1.0], flat.size)
        return max(self._noise_around(start, random) for start in (here, away))

    def _noise_around(self, start: NDArray[Any], random: np.random.Generator) -> float:
        """The noise, from steps so small that differences of higher order hold nothing else."""
        flat = self._model.parameters
        direction = random.uniform(0.5, 1.0, flat.size) * np.abs(start)
        values = []
        for place in range(9):
            flat[:] = start + place * 1e-11 * direction
            values.append(self.loss())
        differences, sizes = np.array(values), [0.5 * _EPSILON * abs(values[0])]
        for order in range(1, 7):
            differences = np.diff(differences)
            if order >= 3:
                scale = math.factorial(order) ** 2 / math.factorial(2 * order)
                sizes.append(math.sqrt(scale * float(np.mean(differences**2))))
        return max(sizes)


def _check_block(
    probe: _Probe,
    name: str,
    values: NDArray[Any],
    gradient: NDArray[Any],
    noise: float,
    max_entries: int | None,
) -> Block:
    indices = list(np.ndindex(values.shape))
    if max_entries is not None and len(indices) > max_entries:
        chosen = np.random.default_rng(0).choice(len(indices), max_entries, replace=False)
        indices = [indices[i] for i in sorted(chosen)]
    size = float(np.max(np.abs(gradient)))
    here = probe.loss()
    entries, kinks = [], []
    for index in indices:
        entry = _check_entry(probe, values, index, float(gradient[index]), here, noise, size)
        if entry is None:
            kinks.append(index)
        else:
            entries.append(entry)
    return Block(name, tuple(entries), tuple(kinks))


def _check_entry(
    probe: _Probe,
    values: NDArray[Any],
    index: tuple[int, ...],
    gradient: float,
    here: float,
    noise: float,
    size: float,
) -> Entry | None:
    """The entry for the best step length. None if the loss has a kink within each of them."""
    center = float(values[index])
    entries = []
    for step in _STEPS:
        h = step * 2.0 ** math.frexp(max(1.0, abs(center)))[1]
        losses = {0: here}
        for factor in (sign * f for f in _FACTORS for sign in (1, -1)):
            values[index] = center + factor * h
            losses[factor] = probe.loss()
        values[index] = center
        entries.append(_extrapolate(index, gradient, losses, h, noise, size))
        best = min(entries, key=lambda entry: entry.allowed)
        # A wrong gradient may be 0, so the size of the difference counts too.
        scale = max(size, abs(best.difference))
        if best.allowed <= _GOOD_ENOUGH * scale:
            break
    # The estimate of truncation contains the noise of the loss: up to twice the noise, it means nothing.
    return None if best.truncation > max(RELATIVE_TOLERANCE * scale, 2 * best.rounding) else best


def _extrapolate(
    index: tuple[int, ...], gradient: float, losses: dict[int, float], h: float, noise: float, size: float
) -> Entry:
    quotients = [(losses[f] - losses[-f]) / (2 * f * h) for f in _FACTORS]
    fourth = [(4 * near - far) / 3 for near, far in pairwise(quotients)]
    corrections = [(near - far) / 15 for near, far in pairwise(fourth)]
    sixth = [near + correction for near, correction in zip(fourth, corrections, strict=False)]
    from_right, from_left = (
        sum(weight * losses[side * f] for f, weight in _ONE_SIDED.items()) / (side * h) for side in (1, -1)
    )
    seen = abs(corrections[1]) + abs(sixth[0] - sixth[1]) + abs(from_right - from_left)
    # The absolute weights of the six losses sum to less than 1.7 / h. A single error may be 8 times the
    # measured noise, and the analytic gradient is rounded too.
    rounding = 8 * 1.7 * noise / h + 64 * _EPSILON * size
    return Entry(index, gradient, sixth[0], rounding, _SAFETY * seen)


def _excess(entry: Entry) -> float:
    return math.inf if math.isnan(entry.excess) else entry.excess


def _describe(entry: Entry) -> str:
    where = ", ".join(map(str, entry.place))
    return f"[{where}]: {entry.gradient:.10g}, by differences {entry.difference:.10g} (± {entry.allowed:.1g})"
