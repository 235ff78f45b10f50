"""Losses: functions that training minimizes. The core computes their values and gradients.

Every loss is the weighted mean over samples, sum(w l) / sum(w), with w = 1 without sample weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _core
from .._errors import described, entry
from . import base, entries
from .base import *
from .base import LossFunction
from .entries import *
from .entries import ENTRIES

if not TYPE_CHECKING:  # type checkers cannot read a computed __all__; for them, the star imports suffice
    __all__ = [*base.__all__, *entries.__all__]

_BY_NAME = {
    **ENTRIES,
    **{row["alias"]: ENTRIES[row["name"]] for row in _core.entries["losses"] if row["alias"]},
}


def as_loss(given: object) -> Loss | LossFunction:
    """A loss, given by name, class or instance, or a function loss(output, y) -> (value, gradient).

    >>> as_loss("mean_squared_error"), as_loss("mse")
    (MeanSquaredError(), MeanSquaredError())
    >>> as_loss("cross_entropi")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: loss must be one of half_squared_error, ...; got 'cross_entropi' (did you mean ...
    """
    if isinstance(given, str):
        return entry("loss", given, _BY_NAME)()
    if isinstance(given, type) and issubclass(given, Loss):
        return given()
    if isinstance(given, Loss) or (callable(given) and not isinstance(given, type)):
        return given
    raise TypeError(
        "loss must be a name, a Loss, or a function loss(output, y) -> (value, gradient); "
        f"got {described(given)}"
    )
