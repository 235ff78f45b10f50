# Written by tools/generate.py from the core's tables; changes here are lost.
"""Layers: what a model is described with. A model's store has their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import (
    activation_base,
    activations,
    dense,
    dropout,
    embedding,
    layer_norm,
    merge,
    normalization,
    parameter,
    prelu,
)
from .activation_base import *
from .activations import *
from .dense import *
from .dropout import *
from .embedding import *
from .layer_norm import *
from .merge import *
from .normalization import *
from .parameter import *
from .prelu import *

if not TYPE_CHECKING:  # type checkers read no list from elsewhere; to them, star imports export
    __all__ = [
        *activation_base.__all__,
        *activations.__all__,
        *dense.__all__,
        *dropout.__all__,
        *embedding.__all__,
        *layer_norm.__all__,
        *merge.__all__,
        *normalization.__all__,
        *parameter.__all__,
        *prelu.__all__,
    ]
