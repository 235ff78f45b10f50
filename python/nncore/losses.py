"""Losses: what a model is trained to make small. Values and gradients are computed in the core.

All are means over the samples: sum of w l / sum of w, with w = 1 where no sample weights are given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from .registry import losses

if TYPE_CHECKING:
    from numpy.typing import NDArray

LossFunction: TypeAlias = "Callable[[NDArray[Any], NDArray[Any]], tuple[float, NDArray[Any]]]"


class Loss:
    """A loss of the core. Trainer and loss_and_gradients take its name or an instance."""

    kind: ClassVar[str]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@losses.row("half_squared_error")
class HalfSquaredError(Loss):
    """Half the sum over outputs of (a - y)^2: y (B, O), or (B,) where O is 1."""


@losses.row("mean_squared_error")
class MeanSquaredError(Loss):
    """The mean over outputs of (a - y)^2: y (B, O), or (B,) where O is 1."""


@losses.row("cross_entropy")
class CrossEntropy(Loss):
    """-sum of y log a, for a model that ends in Softmax: it trains on the logits and predicts
    probabilities. y: class indices (B,) or (B, 1) of any integer dtype, or one-hot or soft labels (B, O).
    """


@losses.row("binary_cross_entropy")
class BinaryCrossEntropy(Loss):
    """-sum of y log a + (1 - y) log(1 - a), for a model that ends in Sigmoid: it trains on the logits and
    predicts probabilities. y (B, O) in [0, 1], or (B,) where O is 1.
    """


@losses.row("softmax_cross_entropy")
class SoftmaxCrossEntropy(Loss):
    """Cross-entropy of the softmax of logits, for a model that ends in a Dense layer and predicts logits.
    y as for CrossEntropy.
    """


@losses.row("sigmoid_cross_entropy")
class SigmoidCrossEntropy(Loss):
    """Binary cross-entropy of the sigmoid of logits, for a model that ends in a Dense layer and predicts
    logits. y as for BinaryCrossEntropy.
    """


def as_loss(given: object) -> Loss | LossFunction:
    """A loss from its name, its class or an instance; or a function loss(output, y) -> (value, gradient).

    >>> as_loss("cross_entropi")
    Traceback (most recent call last):
    ...
    ValueError: unknown loss 'cross_entropi'; did you mean 'cross_entropy'? (allowed: half_squared_error, \
mean_squared_error, cross_entropy, binary_cross_entropy, softmax_cross_entropy, sigmoid_cross_entropy)
    """
    if isinstance(given, str):
        return losses[given]()
    if isinstance(given, type) and issubclass(given, Loss):
        return given()
    if isinstance(given, Loss) or callable(given):
        return given
    raise TypeError(
        "loss must be a name, a Loss, or a function loss(output, y) -> (value, gradient); "
        f"given {type(given).__name__}"
    )
