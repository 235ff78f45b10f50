"""The initializers."""

from __future__ import annotations

import math

from .base import Initializer


class Zeros(Initializer):
    """Every number 0."""

    kind = "zeros"


class Constant(Initializer):
    """Every number `value`; ValueError where it is not finite.

    >>> import nncore as nc
    >>> layer = nc.Dense(3, 2, bias_initializer=nc.Constant(0.5))
    >>> model = nc.Sequential(layer)
    >>> layer.bias
    array([0.5, 0.5], dtype=float32)
    """

    kind = "constant"

    def __init__(self, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError(f"value must be finite; got {value}")
        self._value = float(value)

    @property
    def value(self) -> float:
        """The number itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Constant({self._value:g})"


class GlorotUniform(Initializer):
    """Uniform in (-a, a), a = sqrt(6 / (I + O)) (Glorot and Bengio 2010). Weights only."""

    kind = "glorot_uniform"


class GlorotNormal(Initializer):
    """Normal with variance 2 / (I + O) (Glorot and Bengio 2010). Weights only."""

    kind = "glorot_normal"


class HeUniform(Initializer):
    """Uniform in (-a, a), a = sqrt(6 / I) (He et al. 2015). Weights only."""

    kind = "he_uniform"


class HeNormal(Initializer):
    """Normal with variance 2 / I (He et al. 2015). Weights only."""

    kind = "he_normal"


ENTRIES: dict[str, type[Initializer]] = {
    "zeros": Zeros,
    "constant": Constant,
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
}
__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Zeros",
]
