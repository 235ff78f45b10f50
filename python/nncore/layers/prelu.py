"""The parametric ReLU."""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import check_number, check_size
from ..graph import ParameterSpec
from ..initializers import Constant
from ._base import ArrayView, OneInput

__all__ = ["PReLU"]


class PReLU(OneInput):
    """Parametric ReLU (He et al. 2015): a = z where z > 0, else weight z, with learned weights.

    Shapes: z and a (B, features), weight (num_parameters,).

    Parameters
    ----------
    num_parameters : int, default 1
        1 for one weight for all columns, or the number of features for one weight for each column.
    init : float, default 0.25
        The initial value of the weights.
    name : str, optional
        The layer's name; by default its index in the model.

    Examples
    --------
    >>> import nncore as nc
    >>> layer = nc.PReLU()
    >>> model = nc.Sequential(nc.Dense(4, 3), layer)
    >>> layer.weight
    array([0.25], dtype=float32)
    """

    kind = "prelu"
    options = ("num_parameters",)

    weight = ArrayView("weight")
    grad_weight = ArrayView("weight", gradient=True)

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.num_parameters = check_size(num_parameters, "num_parameters")
        self._initializer = Constant(check_number(init, "init"))

    def output_features(self, widths: Sequence[int]) -> int:
        """The width of the one input, which must equal num_parameters unless that is 1."""
        features = super().output_features(widths)
        if self.num_parameters not in (1, features):
            raise ValueError(
                f"num_parameters must be 1 or the number of features, {features}; got {self.num_parameters}"
            )
        return features

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """`weight`."""
        return {"weight": ParameterSpec((self.num_parameters,), self._initializer)}

    def __repr__(self) -> str:
        return f"PReLU({self.num_parameters})"
