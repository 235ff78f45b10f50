"""Layers that join several values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import _core
from ..graph import Add, Layer, Multiply, Subtract, check_several

__all__ = ["Add", "Concatenate", "Multiply", "Subtract"]


class Concatenate(Layer):
    """The columns of two or more values side by side."""

    kind = "concatenate"

    def output_features(self, widths: Sequence[int]) -> int:
        """The sum of at least two widths."""
        check_several(self, widths)
        return sum(widths)

    def node(self, name: str, inputs: list[int], segments: Mapping[Layer, int]) -> _core.Node:
        """A concatenate node."""
        return _core.Node.concatenate(name, inputs)
