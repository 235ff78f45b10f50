"""Layers that join several values."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Add, Layer, Multiply, Subtract, check_several

__all__ = ["Add", "Concatenate", "Multiply", "Subtract"]


class Concatenate(Layer):
    """The columns of two or more values side by side."""

    kind = "concatenate"

    def output_features(self, widths: Sequence[int]) -> int:
        """The sum of at least two widths."""
        check_several(self, widths)
        return sum(widths)
