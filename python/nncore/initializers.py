"""Initializers: the numbers that parameters start from. Drawn in the core, from the model's seed."""

from __future__ import annotations

import math
from typing import ClassVar

from .registry import initializers


class Initializer:
    """How a weight (O, I) or a bias (O,) starts. Layers take the name or an instance."""

    kind: ClassVar[str]

    @property
    def value(self) -> float:
        """The number itself, for those that set one."""
        return 0.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@initializers.row("zeros")
class Zeros(Initializer):
    """Every number 0."""


@initializers.row("constant")
class Constant(Initializer):
    """Every number `value`; ValueError where it is not finite.

    >>> import nncore as nc
    >>> layer = nc.Dense(3, 2, bias_initializer=nc.Constant(0.5))
    >>> model = nc.Sequential(layer)
    >>> layer.bias
    array([0.5, 0.5], dtype=float32)
    """

    def __init__(self, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError(f"value must be finite; given {value}")
        self._value = float(value)

    @property
    def value(self) -> float:
        """The number itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Constant({self._value:g})"


@initializers.row("glorot_uniform")
class GlorotUniform(Initializer):
    """Uniform in (-a, a), a = sqrt(6 / (I + O)) (Glorot and Bengio 2010). Weights only."""


@initializers.row("glorot_normal")
class GlorotNormal(Initializer):
    """Normal with variance 2 / (I + O) (Glorot and Bengio 2010). Weights only."""


@initializers.row("he_uniform")
class HeUniform(Initializer):
    """Uniform in (-a, a), a = sqrt(6 / I) (He et al. 2015). Weights only."""


@initializers.row("he_normal")
class HeNormal(Initializer):
    """Normal with variance 2 / I (He et al. 2015). Weights only."""


def as_initializer(given: str | Initializer, name: str) -> Initializer:
    """The initializer that the argument `name` stands for: an instance, or the name of one."""
    if isinstance(given, Initializer):
        return given
    if not isinstance(given, str):
        raise TypeError(f"{name} must be a name or an Initializer; given {type(given).__name__}")
    if given == Constant.kind:
        raise ValueError(f"{name}: 'constant' needs its value: use Constant(value)")
    return initializers[given]()
