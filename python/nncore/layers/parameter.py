"""A learned vector that does not depend on the input."""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import check_size
from ..graph import Layer, ParameterSpec
from ..initializers import Initializer, as_initializer
from ._base import ArrayView

__all__ = ["Parameter"]


class Parameter(Layer):
    """A learned vector, repeated for every row: value (features,), y (B, features).

    Calling the layer without arguments returns its symbolic value.

    Parameters
    ----------
    features : int
        The length of the vector.
    initializer : str or Initializer, default "zeros"
        A name or an instance. It must not depend on fan-in or fan-out.
    name : str, optional
        The layer's name; by default its index in the model.

    Examples
    --------
    >>> import nncore as nc
    >>> x = nc.Input(3)
    >>> scale = nc.Parameter(3, initializer=nc.Constant(1.0))
    >>> model = nc.Model(x, x * scale())
    >>> model.predict([[1.0, 2.0, 3.0]])
    array([[1., 2., 3.]], dtype=float32)
    """

    kind = "parameter"
    options = ("features",)

    value = ArrayView("value")
    grad_value = ArrayView("value", gradient=True)

    def __init__(
        self, features: int, *, initializer: str | Initializer = "zeros", name: str | None = None
    ) -> None:
        super().__init__(name=name)
        self.features = check_size(features, "features")
        self._initializer = as_initializer(initializer, "initializer")

    def output_features(self, widths: Sequence[int]) -> int:
        """The length of the vector; the layer takes no inputs."""
        if widths:
            raise ValueError(f"inputs of {self!r} must be none; got {len(widths)}")
        return self.features

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """`value`."""
        return {"value": ParameterSpec((self.features,), self._initializer)}

    def attributes(self) -> dict[str, bool | int | float | str]:
        """The length of the vector."""
        return {"features": self.features}

    def __repr__(self) -> str:
        return f"Parameter({self.features})"
