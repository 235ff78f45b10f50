"""What all activations share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import _core
from ..graph import Layer

__all__ = ["Activation"]


class Activation(Layer):
    """a = f(z), elementwise or row by row; the width stays."""

    def output_features(self, widths: Sequence[int]) -> int:
        """The width of its one input."""
        if len(widths) != 1:
            raise ValueError(f"inputs of {self!r} must be one value; got {len(widths)}")
        return widths[0]

    def node(self, name: str, inputs: list[int], segments: Mapping[Layer, int]) -> _core.Node:
        """An activation node of its kind."""
        return _core.Node.activation(name, inputs[0], self.kind)
