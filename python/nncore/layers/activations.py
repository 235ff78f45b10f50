# Written by tools/generate.py from the core's tables; changes here are lost.
"""Activations."""

from __future__ import annotations

from typing import Literal

from .activation_base import Activation

__all__ = [
    "GELU",
    "Identity",
    "LeakyReLU",
    "LogSoftmax",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softsign",
    "Tanh",
]


class Identity(Activation):
    """a = z."""

    kind = "identity"


class Sigmoid(Activation):
    """a = 1 / (1 + e^-z), in (0, 1)."""

    kind = "sigmoid"


class Tanh(Activation):
    """a = tanh z, in (-1, 1)."""

    kind = "tanh"


class ReLU(Activation):
    """a = max(z, 0); its derivative at 0 is 0."""

    kind = "relu"


class Softmax(Activation):
    """a_k = e^z_k / sum of e^z over the row: probabilities that sum to 1."""

    kind = "softmax"


class LogSoftmax(Activation):
    """a_k = z_k - log of the sum of e^z over the row: the logarithms of softmax."""

    kind = "log_softmax"


class LeakyReLU(Activation):
    """a = z where z > 0, else negative_slope z (Maas et al. 2013).

    negative_slope: the slope where z is negative, a finite number of at least 0.
    """

    kind = "leaky_relu"
    options = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, *, name: str | None = None) -> None:
        super().__init__(negative_slope=negative_slope, name=name)


class GELU(Activation):
    """a = z P(z), P the standard normal distribution (Hendrycks and Gimpel 2016).

    approximate: "none": with the normal distribution; "tanh": with an approximation of it.
    """

    kind = "gelu"
    options = ("approximate",)

    def __init__(self, approximate: Literal["none", "tanh"] = "none", *, name: str | None = None) -> None:
        super().__init__(approximate=approximate, name=name)


class SiLU(Activation):
    """a = z / (1 + e^-z), also called swish (Elfwing et al. 2018)."""

    kind = "silu"


class Softsign(Activation):
    """a = z / (1 + |z|), in (-1, 1)."""

    kind = "softsign"


ENTRIES: dict[str, type[Activation]] = {
    "identity": Identity,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
    "softmax": Softmax,
    "log_softmax": LogSoftmax,
    "leaky_relu": LeakyReLU,
    "gelu": GELU,
    "silu": SiLU,
    "softsign": Softsign,
}
