"""Optimizers: how gradients change parameters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from .._errors import entry
from . import base, entries
from .base import *
from .entries import *
from .entries import ENTRIES, SGD

if not TYPE_CHECKING:  # type checkers read no list from elsewhere; to them, star imports export
    __all__ = [*base.__all__, *entries.__all__]

# What a name makes: an entry with its defaults, or one with other arguments.
NAMES: dict[str, Callable[[], Optimizer]] = {
    **ENTRIES,
    "momentum": partial(SGD, momentum=0.9),
    "nesterov": partial(SGD, momentum=0.9, nesterov=True),
}


def as_optimizer(given: str | Optimizer) -> Optimizer:
    """An optimizer from its name, with its default settings, or an instance."""
    if isinstance(given, str):
        return entry("optimizer", given, NAMES)()
    if not isinstance(given, Optimizer):
        raise TypeError(f"optimizer must be a name or an Optimizer; got {type(given).__name__}")
    return given
