"""The optimizers of the core."""

from __future__ import annotations

from .base import Optimizer


class SGD(Optimizer):
    """Gradient descent, p -= learning_rate g; with momentum m = momentum m + g, p -= learning_rate m; or
    Nesterov's, p -= learning_rate (g + momentum m). Raises ValueError for settings out of range.
    """

    kind = "sgd"

    def __init__(self, learning_rate: float = 1e-2, momentum: float = 0.0, nesterov: bool = False) -> None:
        if nesterov and momentum == 0.0:
            raise ValueError("momentum must be above 0 with nesterov; got 0")
        if momentum == 0.0:
            super().__init__("sgd", learning_rate=learning_rate)
        else:
            kind = "nesterov" if nesterov else "momentum"
            super().__init__(kind, learning_rate=learning_rate, momentum=momentum)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), with bias correction; epsilon is added to the root.
    Raises ValueError for settings out of range.
    """

    kind = "adam"

    def __init__(
        self, learning_rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        super().__init__("adam", learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), p -= learning_rate weight_decay p, on
    weights but not on biases. Raises ValueError for settings out of range.
    """

    kind = "adamw"

    def __init__(
        self,
        learning_rate: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(
            "adamw",
            learning_rate=learning_rate,
            beta1=beta1,
            beta2=beta2,
            epsilon=epsilon,
            weight_decay=weight_decay,
        )


ENTRIES: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
}
__all__ = [
    "SGD",
    "Adam",
    "AdamW",
]
