"""Layers that bring values to mean 0 and variance 1."""

from __future__ import annotations

from .._errors import check_flag, check_number, check_size
from ..graph import ParameterSpec
from ..initializers import Constant, Zeros
from ._base import ArrayView, OneInput

__all__ = ["BatchNorm"]


class BatchNorm(OneInput):
    """y = (x - mean) / sqrt(variance + eps) weight + bias, column by column (Ioffe and Szegedy 2015): x and y
    (B, C), weight and bias (C,).

    Mean and variance are those of the batch in training, which must have 2 rows or more; predictions use
    running averages, running = (1 - momentum) running + momentum batch, with the variance over B - 1. All as
    torch.nn.BatchNorm1d has it. `affine=False`: without weight and bias.

    >>> import nncore as nc
    >>> layer = nc.BatchNorm(3)
    >>> model = nc.Sequential(nc.Dense(4, 3), layer, nc.ReLU())
    >>> layer.running_mean, layer.running_var
    (array([0., 0., 0.], dtype=float32), array([1., 1., 1.], dtype=float32))
    """

    kind = "batch_norm"
    options = ("num_features", "eps", "momentum", "affine")

    weight = ArrayView("weight")
    bias = ArrayView("bias")
    grad_weight = ArrayView("weight", gradient=True)
    grad_bias = ArrayView("bias", gradient=True)
    running_mean = ArrayView("running_mean")
    running_var = ArrayView("running_var")

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.num_features = self.in_features = check_size(num_features, "num_features")
        self.eps, self.momentum = check_number(eps, "eps"), check_number(momentum, "momentum")
        if not 0.0 < self.eps < float("inf"):
            raise ValueError(f"eps must be finite and greater than 0; got {eps}")
        if not 0.0 <= self.momentum <= 1.0:
            raise ValueError(f"momentum must be in [0, 1]; got {momentum}")
        self.affine = check_flag(affine, "affine")

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """`weight` from 1 and `bias` from 0, where it is affine."""
        shape = (self.num_features,)
        if not self.affine:
            return {}
        return {"weight": ParameterSpec(shape, Constant(1.0)), "bias": ParameterSpec(shape, Zeros())}

    def state_specs(self) -> dict[str, ParameterSpec]:
        """The running averages: of the mean from 0, of the variance from 1."""
        shape = (self.num_features,)
        return {
            "running_mean": ParameterSpec(shape, Zeros()),
            "running_var": ParameterSpec(shape, Constant(1.0)),
        }

    def attributes(self) -> dict[str, bool | int | float | str]:
        """Its size and numbers."""
        return {"num_features": self.num_features, "eps": self.eps, "momentum": self.momentum}

    def __repr__(self) -> str:
        return f"BatchNorm({self.num_features})"
