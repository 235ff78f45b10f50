"""Batch normalization."""

from __future__ import annotations

from .._errors import check_flag, check_number, check_size
from ..graph import ParameterSpec
from ..initializers import Constant, Zeros
from ._base import ArrayView, OneInput

__all__ = ["BatchNorm"]


class BatchNorm(OneInput):
    """Batch normalization (Ioffe and Szegedy 2015), equivalent to torch.nn.BatchNorm1d::

        y = (x - mean) / sqrt(variance + eps) weight + bias

    Shapes: x and y (B, C), weight and bias (C,). In training, the mean and variance of each column are those
    of the batch, which must have at least 2 rows. Predictions use the running averages `running_mean`
    and `running_var`, which every training step updates, with the variance divided by B - 1::

        running = (1 - momentum) running + momentum batch

    Parameters
    ----------
    num_features : int
        The number of features, C.
    eps : float, default 1e-5
        Added to the variance; finite and greater than 0.
    momentum : float, default 0.1
        The weight of the batch in the running averages, in [0, 1].
    affine : bool, default True
        Whether the layer has a weight, which starts at 1, and a bias, which starts at 0.
    name : str, optional
        The layer's name; by default its index in the model.

    Examples
    --------
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
        """`weight`, which starts at 1, and `bias`, which starts at 0, if the layer has them."""
        shape = (self.num_features,)
        if not self.affine:
            return {}
        return {"weight": ParameterSpec(shape, Constant(1.0)), "bias": ParameterSpec(shape, Zeros())}

    def state_specs(self) -> dict[str, ParameterSpec]:
        """The running mean, which starts at 0, and the running variance, which starts at 1."""
        shape = (self.num_features,)
        return {
            "running_mean": ParameterSpec(shape, Zeros()),
            "running_var": ParameterSpec(shape, Constant(1.0)),
        }

    def attributes(self) -> dict[str, bool | int | float | str]:
        """The number of features, eps and momentum."""
        return {"num_features": self.num_features, "eps": self.eps, "momentum": self.momentum}

    def __repr__(self) -> str:
        return f"BatchNorm({self.num_features})"
