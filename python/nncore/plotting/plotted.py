"""The part of a model that pictures use; `Model` itself is in a room above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .._arrays import Label
from .._errors import described
from ..graph import Value

if TYPE_CHECKING:
    from numpy.typing import NDArray


@runtime_checkable
class Plotted(Protocol):
    """A model."""

    @property
    def inputs(self) -> Sequence[Value]:
        """What it reads."""

    @property
    def outputs(self) -> Sequence[Value]:
        """What it computes."""

    @property
    def values(self) -> Sequence[Value]:
        """All values of the graph, in topological order."""

    @property
    def value_names(self) -> Sequence[str]:
        """The name of each of `values`."""

    @property
    def input_names(self) -> Sequence[str]:
        """The name of each input."""

    @property
    def output_names(self) -> Sequence[str]:
        """The name of each output."""

    @property
    def feature_names(self) -> Mapping[str, tuple[Label, ...]]:
        """The names of the columns of inputs."""

    def predict(self, x: Any) -> Any:
        """The outputs for x."""

    def predict_values(self, x: Any, places: Sequence[int]) -> list[NDArray[Any]]:
        """The numbers of some of `values` for x."""

    def named_parameters(self) -> dict[str, NDArray[Any]]:
        """The parameters by name."""


def check_model(model: object) -> None:
    """TypeError unless `model` is a Model."""
    if isinstance(model, type) or not isinstance(model, Plotted):
        raise TypeError(f"model must be a Model; got {described(model)}")
