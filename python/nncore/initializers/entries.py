# Written by tools/generate.py from the core's tables; changes here are lost.
"""Initializers."""

from __future__ import annotations

from .base import Initializer

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Normal",
    "Zeros",
]


class Zeros(Initializer):
    """Every number 0."""

    kind = "zeros"


class Constant(Initializer):
    """Every number `value`.

    value: the number, a finite number.
    """

    kind = "constant"

    def __init__(self, value: float = 0.0) -> None:
        super().__init__(value=value)


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


class Normal(Initializer):
    """Normal around 0, as embeddings start.

    standard_deviation: how far the numbers spread, a finite number of at least 0.
    """

    kind = "normal"

    def __init__(self, standard_deviation: float = 1.0) -> None:
        super().__init__(standard_deviation=standard_deviation)


ENTRIES: dict[str, type[Initializer]] = {
    "zeros": Zeros,
    "constant": Constant,
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "normal": Normal,
}
