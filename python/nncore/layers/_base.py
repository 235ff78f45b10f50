"""What layers share: their arrays as attributes, and one input whose width stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._arrays import assign
from ..graph import Layer

if TYPE_CHECKING:
    from numpy.typing import NDArray


class OneInput(Layer):
    """A layer whose output is as wide as its one input."""

    def output_features(self, widths: Sequence[int]) -> int:
        """The width of its one input, which must be `in_features` where that is set."""
        if len(widths) != 1:
            raise ValueError(f"inputs of {self!r} must be one value; got {len(widths)}")
        if self.in_features not in (None, widths[0]):
            raise ValueError(f"input of {self!r} must have {self.in_features} features; got {widths[0]}")
        return widths[0]

    def attributes(self) -> dict[str, bool | int | float | str]:
        """Its options."""
        return {option: getattr(self, option) for option in self.options}


class ArrayView:
    """A layer's array of that key: a writable view. Assigning writes to it: `layer.bias = values`."""

    def __init__(self, key: str, *, gradient: bool = False) -> None:
        self._key, self._gradient = key, gradient

    def __get__(self, layer: Layer | None, owner: type[Layer]) -> NDArray[Any]:
        if layer is None:
            return self  # type: ignore[return-value]  # of the class, as documentation looks at it
        if self._key not in layer.parameter_specs() | layer.state_specs():
            raise AttributeError(f"{layer!r} has no {self._key}")
        if layer.store is None:
            raise RuntimeError(f"{layer!r} has no {self._key} yet; it gets that when a model is built")
        return layer.store.view(layer, self._key, gradient=self._gradient)

    def __set__(self, layer: Layer, values: NDArray[Any]) -> None:
        view = self.__get__(layer, type(layer))
        assert layer.store is not None
        assign(view, values, self._key, layer.store.changing())
