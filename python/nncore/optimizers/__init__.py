"""Optimizers: rules that update parameters from gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._errors import described, entry
from . import base, entries, transforms
from .base import *
from .entries import *
from .entries import ENTRIES
from .transforms import *

if not TYPE_CHECKING:  # type checkers cannot read a computed __all__; for them, the star imports suffice
    __all__ = [*base.__all__, *entries.__all__, *transforms.__all__]


def as_optimizer(given: str | Optimizer) -> Optimizer:
    """The optimizer that is given as an instance, or by name with default hyperparameters."""
    if isinstance(given, str):
        return entry("optimizer", given, ENTRIES)()
    if not isinstance(given, Optimizer):
        raise TypeError(f"optimizer must be a name or an Optimizer; got {described(given)}")
    return given
