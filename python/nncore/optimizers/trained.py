"""The parts of a model and its store that an optimizer uses, as protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .. import _core
from .._precision import Precision

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Store(Protocol):
    """The part of a parameter store that an optimizer uses."""

    @property
    def core(self) -> _core.Parameters_float32:
        """The parameters."""

    @property
    def precision(self) -> Precision:
        """The core's classes for the dtype of the parameters."""

    def split(self, flat: NDArray[Any], segments: Mapping[str, int]) -> dict[str, NDArray[Any]]:
        """Views, by name, of some segments of an array that is laid out like the parameters."""

    def replace(self, arrays: Mapping[str, NDArray[Any]], segments: Mapping[str, int]) -> None:
        """Copies parameters in, by name: all of them or none."""


class Trained(Protocol):
    """The part of a model that an optimizer uses."""

    segments: dict[str, int]

    @property
    def network(self) -> _core.Network_float32:
        """The model's graph, bound to the store."""

    @property
    def store(self) -> Store:
        """The store of the model's parameters, which other models may share."""
