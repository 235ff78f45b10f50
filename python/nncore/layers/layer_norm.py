"""Layer normalization."""

from __future__ import annotations

from .._errors import check_flag, check_number, check_size
from ..graph import ParameterSpec
from ..initializers import Constant, Zeros
from ._base import ArrayView, OneInput

__all__ = ["LayerNorm"]


class LayerNorm(OneInput):
    """Layer normalization (Ba et al. 2016), equivalent to torch.nn.LayerNorm(C)::

        y = (x - mean) / sqrt(variance + eps) weight + bias

    The mean and variance are those of each row. Shapes: x and y (B, C), weight and bias (C,).

    Parameters
    ----------
    normalized_shape : int
        The number of features, C.
    eps : float, default 1e-5
        Added to the variance; finite and greater than 0.
    elementwise_affine : bool, default True
        Whether the layer has a weight, which starts at 1, and a bias, which starts at 0.
    name : str, optional
        The layer's name; by default its index in the model.

    Examples
    --------
    >>> import nncore as nc
    >>> model = nc.Sequential(nc.LayerNorm(2), dtype="float64")
    >>> model.predict([[1.0, 3.0]]).round(4)
    array([[-1.,  1.]])
    """

    kind = "layer_norm"
    options = ("normalized_shape", "eps", "elementwise_affine")

    weight = ArrayView("weight")
    bias = ArrayView("bias")
    grad_weight = ArrayView("weight", gradient=True)
    grad_bias = ArrayView("bias", gradient=True)

    def __init__(
        self,
        normalized_shape: int,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.normalized_shape = self.in_features = check_size(normalized_shape, "normalized_shape")
        self.eps = check_number(eps, "eps")
        if not 0.0 < self.eps < float("inf"):
            raise ValueError(f"eps must be finite and greater than 0; got {eps}")
        self.elementwise_affine = check_flag(elementwise_affine, "elementwise_affine")

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """`weight`, which starts at 1, and `bias`, which starts at 0, if the layer has them."""
        shape = (self.normalized_shape,)
        if not self.elementwise_affine:
            return {}
        return {"weight": ParameterSpec(shape, Constant(1.0)), "bias": ParameterSpec(shape, Zeros())}

    def attributes(self) -> dict[str, bool | int | float | str]:
        """The number of features and eps."""
        return {"normalized_shape": self.normalized_shape, "eps": self.eps}

    def __repr__(self) -> str:
        return f"LayerNorm({self.normalized_shape})"
