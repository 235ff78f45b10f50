# Written by tools/generate.py from the core's tables; changes here are lost.
"""Losses."""

from __future__ import annotations

from .base import Loss, Numbers

__all__ = [
    "BinaryCrossEntropy",
    "CrossEntropy",
    "GaussianNLL",
    "HalfSquaredError",
    "Huber",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
]


class HalfSquaredError(Loss):
    """Half the sum over outputs of (a - y)^2: y (B, O), or (B,) where O is 1."""

    kind = "half_squared_error"


class MeanSquaredError(Loss):
    """The mean over outputs of (a - y)^2: y (B, O), or (B,) where O is 1."""

    kind = "mean_squared_error"


class CrossEntropy(Loss):
    """-sum of y log a, for a model that ends in Softmax: it trains on the logits and predicts probabilities.
    y: class indices (B,) or (B, 1) of any integer dtype, or one-hot or soft labels (B, O).
    """

    kind = "cross_entropy"


class BinaryCrossEntropy(Loss):
    """-sum of y log a + (1 - y) log(1 - a), for a model that ends in Sigmoid: it trains on the logits and
    predicts probabilities. y (B, O) in [0, 1], or (B,) where O is 1.
    """

    kind = "binary_cross_entropy"


class SoftmaxCrossEntropy(Loss):
    """Cross-entropy of the softmax of logits, for a model that ends in a Dense layer and predicts logits. y
    as for CrossEntropy.
    """

    kind = "softmax_cross_entropy"


class SigmoidCrossEntropy(Loss):
    """Binary cross-entropy of the sigmoid of logits, for a model that ends in a Dense layer and predicts
    logits. y as for BinaryCrossEntropy.
    """

    kind = "sigmoid_cross_entropy"


class Huber(Loss):
    """The mean over outputs of a half square near the target and a straight line farther than delta from it,
    which outliers pull less: y (B, O), or (B,) where O is 1.

    delta: the distance from the target at which the square becomes a straight line, a finite number
    greater than 0, or a sequence of one for each column of the target.
    """

    kind = "huber"

    def __init__(self, delta: Numbers = 1.0) -> None:
        super().__init__(delta=delta)


class MeanAbsoluteError(Loss):
    """The mean over outputs of |a - y|: y (B, O), or (B,) where O is 1."""

    kind = "mean_absolute_error"


class GaussianNLL(Loss):
    """The negative log-likelihood of y under normal distributions, without its constant, for a model with 2
    K outputs: K means, then K logarithms of variances, which may be any numbers. y (B, K), or (B,) where
    K is 1.
    """

    kind = "gaussian_nll"


class LogCosh(Loss):
    """The mean over outputs of log(cosh(a - y)), which is a half square near the target and a straight line
    far from it: y (B, O), or (B,) where O is 1.
    """

    kind = "log_cosh"


ENTRIES: dict[str, type[Loss]] = {
    "half_squared_error": HalfSquaredError,
    "mean_squared_error": MeanSquaredError,
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "softmax_cross_entropy": SoftmaxCrossEntropy,
    "sigmoid_cross_entropy": SigmoidCrossEntropy,
    "huber": Huber,
    "mean_absolute_error": MeanAbsoluteError,
    "gaussian_nll": GaussianNLL,
    "log_cosh": LogCosh,
}
