"""Initializers: distributions of the initial parameters. The core draws them from the model's seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _core
from .._errors import described, entry
from . import base, entries
from .base import *
from .entries import *
from .entries import ENTRIES

if not TYPE_CHECKING:  # type checkers cannot read a computed __all__; for them, the star imports suffice
    __all__ = [*base.__all__, *entries.__all__]

#: Whether an initializer of this kind depends on the fan-in or fan-out of a weight.
FOR_WEIGHTS_ONLY: dict[str, bool] = {
    row["name"]: row["for_weights_only"] for row in _core.entries["initializers"]
}


def as_initializer(given: str | Initializer, name: str) -> Initializer:
    """The initializer that the argument `name` gives, as an instance or by name."""
    if isinstance(given, Initializer):
        return given
    if not isinstance(given, str):
        raise TypeError(f"{name} must be a name or an Initializer; got {described(given)}")
    return entry(name, given, ENTRIES)()
