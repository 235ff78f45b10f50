"""Losses: what a model is trained to make small. Values and gradients are computed in the core.

All are means over the samples: sum of w l / sum of w, with w = 1 where no sample weights are given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from . import _core
from .registry import losses

if TYPE_CHECKING:
    from numpy.typing import NDArray

LossFunction: TypeAlias = "Callable[[NDArray[Any], NDArray[Any]], tuple[float, NDArray[Any]]]"
Numbers: TypeAlias = "float | Sequence[float] | NDArray[Any]"


class Loss:
    """A loss of the core. Trainer and loss_and_gradients take its name or an instance.

    Losses of one kind with the same parameters are equal.
    """

    kind: ClassVar[str]

    def __init__(self, **parameters: Numbers) -> None:
        self.core = _core.Loss(self.kind, **parameters)
        self.parameters = self.core.parameters
        self._key = self.kind, tuple(self.parameters.items())

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Loss) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> tuple[Callable[..., Loss], tuple[object, ...]]:
        return partial(type(self), **self.parameters), ()

    def __repr__(self) -> str:
        parameters = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"{type(self).__name__}({parameters})"


@losses.row("half_squared_error")
class HalfSquaredError(Loss):
    """Half the sum over outputs of (a - y)^2: y (B, O), or (B,) where O is 1."""


@losses.row("mean_squared_error")
class MeanSquaredError(Loss):
    """The mean over outputs of (a - y)^2: y (B, O), or (B,) where O is 1."""


@losses.row("cross_entropy")
class CrossEntropy(Loss):
    """-sum of y log a, for a model that ends in Softmax: it trains on the logits and predicts
    probabilities. y: class indices (B,) or (B, 1) of any integer dtype, or one-hot or soft labels
    (B, O).
    """


@losses.row("binary_cross_entropy")
class BinaryCrossEntropy(Loss):
    """-sum of y log a + (1 - y) log(1 - a), for a model that ends in Sigmoid: it trains on the logits
    and predicts probabilities. y (B, O) in [0, 1], or (B,) where O is 1.
    """


@losses.row("softmax_cross_entropy")
class SoftmaxCrossEntropy(Loss):
    """Cross-entropy of the softmax of logits, for a model that ends in a Dense layer and predicts
    logits. y as for CrossEntropy.
    """


@losses.row("sigmoid_cross_entropy")
class SigmoidCrossEntropy(Loss):
    """Binary cross-entropy of the sigmoid of logits, for a model that ends in a Dense layer and
    predicts logits. y as for BinaryCrossEntropy.
    """


@losses.row("huber")
class Huber(Loss):
    """The mean over outputs of a half square near the target and a straight line farther than delta
    from it, which outliers pull less: y (B, O), or (B,) where O is 1.

    delta: the distance from the target at which the square becomes a straight line, a finite number
    greater than 0, or a sequence of one for each column of the target.
    """

    def __init__(self, delta: Numbers = 1.0) -> None:
        super().__init__(delta=delta)


@losses.row("mean_absolute_error")
class MeanAbsoluteError(Loss):
    """The mean over outputs of |a - y|: y (B, O), or (B,) where O is 1."""


@losses.row("gaussian_nll")
class GaussianNLL(Loss):
    """The negative log-likelihood of y under normal distributions, without its constant, for a model
    with 2 K outputs: K means, then K logarithms of variances, which may be any numbers. y (B, K), or
    (B,) where K is 1.
    """


_ALIASES = {entry["alias"]: entry["name"] for entry in _core.entries["losses"] if entry["alias"]}


def as_loss(given: object) -> Loss | LossFunction:
    """A loss from its name, its class or an instance; or a function loss(output, y) -> (value, gradient).

    >>> as_loss("huber"), as_loss("mse"), Huber(0.5) == Huber(delta=0.5)
    (Huber(delta=1.0), MeanSquaredError(), True)
    >>> as_loss("cross_entropi")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: unknown loss 'cross_entropi'; did you mean 'cross_entropy'? (allowed: half_squared_error, ...)
    """
    if isinstance(given, str):
        return losses[_ALIASES.get(given, given)]()
    if isinstance(given, type) and issubclass(given, Loss):
        return given()
    if isinstance(given, Loss) or callable(given):
        return given
    raise TypeError(
        "loss must be a name, a Loss, or a function loss(output, y) -> (value, gradient); "
        f"given {type(given).__name__}"
    )
