"""What all activations share."""

from __future__ import annotations

from collections.abc import Sequence

from .. import _core
from ..graph import Layer

__all__ = ["Activation"]


class Activation(Layer):
    """a = f(z), elementwise or row by row; the width stays."""

    def __init__(self, *, name: str | None = None, **parameters: float | str) -> None:
        super().__init__(name=name)
        _core.check_activation(self.kind, **parameters)
        for option, value in parameters.items():
            setattr(self, option, value)

    def output_features(self, widths: Sequence[int]) -> int:
        """The width of its one input."""
        if len(widths) != 1:
            raise ValueError(f"inputs of {self!r} must be one value; got {len(widths)}")
        return widths[0]

    def attributes(self) -> dict[str, bool | int | float | str]:
        """Its parameters."""
        return {option: getattr(self, option) for option in self.options}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.attributes().items())})"
