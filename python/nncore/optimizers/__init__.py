"""Optimizers: how gradients change parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._errors import described, entry
from . import base, entries, transforms
from .base import *
from .entries import *
from .entries import ENTRIES
from .transforms import *

if not TYPE_CHECKING:  # type checkers read no list from elsewhere; to them, star imports export
    __all__ = [*base.__all__, *entries.__all__, *transforms.__all__]


def as_optimizer(given: str | Optimizer) -> Optimizer:
    """An optimizer from its name, with its default hyperparameters, or an instance."""
    if isinstance(given, str):
        return entry("optimizer", given, ENTRIES)()
    if not isinstance(given, Optimizer):
        raise TypeError(f"optimizer must be a name or an Optimizer; got {described(given)}")
    return given
