"""What an optimizer asks of a model and its store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .. import _core
from .._precision import Precision

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Store(Protocol):
    """What an optimizer asks of a store of parameters."""

    @property
    def core(self) -> _core.Parameters_float32:
        """The parameters."""

    @property
    def precision(self) -> Precision:
        """The core's classes for their dtype."""

    def split(self, flat: NDArray[Any], segments: Mapping[str, int]) -> dict[str, NDArray[Any]]:
        """Views of some segments in an array laid out like the values, by name."""

    def replace(self, arrays: Mapping[str, NDArray[Any]], segments: Mapping[str, int]) -> None:
        """Takes over parameters by name, all or none."""


class Trained(Protocol):
    """What an optimizer asks of a model."""

    segments: dict[str, int]

    @property
    def network(self) -> _core.Network_float32:
        """The graph at work on the store."""

    @property
    def store(self) -> Store:
        """The model's parameters, and perhaps those of others."""
