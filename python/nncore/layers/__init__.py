# Written by tools/generate.py from the core's tables; changes here are lost.
"""Layers: what a model is described with. They hold no numbers: a model's store does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import activation_base, activations, dense, merge
from .activation_base import *
from .activations import *
from .dense import *
from .merge import *

if not TYPE_CHECKING:  # type checkers read no list from elsewhere; to them, star imports export
    __all__ = [*activation_base.__all__, *activations.__all__, *dense.__all__, *merge.__all__]
