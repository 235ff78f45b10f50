"""Layers that combine several values."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Add, Layer, Multiply, Subtract, check_several

__all__ = ["Add", "Concatenate", "Multiply", "Subtract"]


class Concatenate(Layer):
    """The columns of two or more values side by side: (B, F1), (B, F2), ... become (B, F1 + F2 + ...).

    Parameters
    ----------
    name : str, optional
        The layer's name; by default its index in the model.
    """

    kind = "concatenate"

    def output_features(self, widths: Sequence[int]) -> int:
        """The sum of the widths, of which there must be at least two."""
        check_several(self, widths)
        return sum(widths)
