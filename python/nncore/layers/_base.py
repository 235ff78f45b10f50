"""Shared by layers: arrays as attributes, and layers that keep the width of their one input."""

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
        """The width of the one input, which must equal `in_features` if that is set."""
        if len(widths) != 1:
            raise ValueError(f"inputs of {self!r} must be one value; got {len(widths)}")
        if self.in_features not in (None, widths[0]):
            raise ValueError(f"input of {self!r} must have {self.in_features} features; got {widths[0]}")
        return widths[0]

    def attributes(self) -> dict[str, bool | int | float | str]:
        """The options, by name."""
        return {option: getattr(self, option) for option in self.options}


class ArrayView:
    """Descriptor of a layer's array: reading returns a writable view, assigning copies values into it."""

    def __init__(self, key: str, *, gradient: bool = False) -> None:
        self._key, self._gradient = key, gradient

    def __get__(self, layer: Layer | None, owner: type[Layer]) -> NDArray[Any]:
        if layer is None:
            return self  # type: ignore[return-value]  # read from the class, as documentation tools do
        if self._key not in layer.parameter_specs() | layer.state_specs():
            raise AttributeError(f"{layer!r} has no {self._key}")
        if layer.store is None:
            raise RuntimeError(f"{layer!r} has no {self._key} until a model is built from it")
        return layer.store.view(layer, self._key, gradient=self._gradient)

    def __set__(self, layer: Layer, values: NDArray[Any]) -> None:
        view = self.__get__(layer, type(layer))
        assert layer.store is not None
        assign(view, values, self._key, layer.store.changing())
