"""The activations of the core."""

from __future__ import annotations

from .activation_base import Activation


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


ENTRIES: dict[str, type[Activation]] = {
    "identity": Identity,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
    "softmax": Softmax,
    "log_softmax": LogSoftmax,
}
__all__ = [
    "Identity",
    "LogSoftmax",
    "ReLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
