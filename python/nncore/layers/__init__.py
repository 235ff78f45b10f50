"""Layers: what a model is described with. They hold no numbers themselves: a model's store does."""

from __future__ import annotations

from ..graph import Layer
from . import activations, dense, merge
from .activation_base import Activation
from .activations import *
from .dense import *
from .merge import *

__all__ = ["Activation", "Layer"]
__all__ += activations.__all__
__all__ += dense.__all__
__all__ += merge.__all__
