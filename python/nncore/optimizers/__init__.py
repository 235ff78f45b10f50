"""Optimizers: how gradients change parameters."""

from __future__ import annotations

from .._errors import entry
from . import entries
from .base import Optimizer
from .entries import *
from .entries import ENTRIES

__all__ = ["Optimizer"]
__all__ += entries.__all__


def as_optimizer(given: str | Optimizer) -> Optimizer:
    """An optimizer from its name, with its default hyperparameters, or an instance."""
    if isinstance(given, str):
        return entry("optimizer", given, ENTRIES)()
    if not isinstance(given, Optimizer):
        raise TypeError(f"optimizer must be a name or an Optimizer; got {type(given).__name__}")
    return given
