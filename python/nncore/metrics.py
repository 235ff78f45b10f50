"""Metrics: what is reported but not trained on. A metric is a function metric(y_true, y_pred) -> float."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from . import _core
from ._arrays import as_numbers
from ._errors import check_number, described, unknown_name
from .losses import Loss
from .losses.base import LossFunction

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["accuracy", "binary_accuracy"]

Metric: TypeAlias = "Callable[[NDArray[Any], NDArray[Any]], float]"
Counting: TypeAlias = "Callable[[NDArray[Any], NDArray[Any]], tuple[int, int]]"  # right ones, all


def accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """The fraction of samples whose largest output is at the true class, in [0, 1].

    y_pred (B, O) are probabilities or logits; y_true holds class indices, (B,) or (B, 1), or one-hot rows
    (B, O). With one output, O = 1, a probability of at least 0.5 means class 1.
    Raises ValueError where the shapes do not fit, for no samples and for masked entries (numpy.ma), and
    TypeError for other dtypes than bool, integers and floats. A NaN makes its row wrong.

    >>> accuracy([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    0.6666666666666666
    """
    right, total = _count_classes(y_true, y_pred)
    return right / total


def binary_accuracy(y_true: ArrayLike, y_pred: ArrayLike, threshold: float = 0.5) -> float:
    """The fraction of outputs on the true side of the threshold, each output by itself, in [0, 1].

    y_pred (B, O); y_true of the same shape, or (B,) where O is 1, is compared with 0.5.
    Raises ValueError where the shapes do not fit, for no samples and for masked entries (numpy.ma), and
    TypeError for other dtypes than bool, integers and floats. A NaN is on no side.

    >>> binary_accuracy([0, 1, 1], [[0.2], [0.9], [0.4]])
    0.6666666666666666
    """
    right, total = _count_sides(y_true, y_pred, check_number(threshold, "threshold"))
    return right / total


def _count_classes(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[int, int]:
    """How many rows `accuracy` finds right, and of how many."""
    truth, predicted = _rows("accuracy", y_true, y_pred)
    if predicted.shape[1] == 1:
        return _count_sides(truth, predicted)
    if truth.shape == predicted.shape:
        truth = truth.argmax(axis=1)
    elif truth.shape not in ((len(predicted),), (len(predicted), 1)):
        raise ValueError(f"y_true must be (B,), (B, 1) or {predicted.shape}; got {truth.shape}")
    right = truth.reshape(-1) == predicted.argmax(axis=1)
    return int(np.count_nonzero(right & ~np.isnan(predicted).any(axis=1))), len(right)


def _count_sides(y_true: ArrayLike, y_pred: ArrayLike, threshold: float = 0.5) -> tuple[int, int]:
    """How many outputs `binary_accuracy` finds right, and of how many."""
    truth, predicted = _rows("binary_accuracy", y_true, y_pred)
    if truth.size != predicted.size:
        raise ValueError(f"y_true must have the shape of y_pred, {predicted.shape}; got {truth.shape}")
    right = (truth.reshape(predicted.shape) >= 0.5) == (predicted >= threshold)
    return int(np.count_nonzero(right & ~np.isnan(predicted))), right.size


def _count_signs(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[int, int]:
    """The same of logits."""
    return _count_sides(y_true, y_pred, threshold=0.0)


def _rows(metric: str, y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as arrays of as many rows, at least one."""
    truth, predicted = as_numbers(y_true, "y_true"), as_numbers(y_pred, "y_pred")
    if predicted.ndim != 2 or truth.ndim == 0 or len(truth) != len(predicted) or predicted.size == 0:
        raise ValueError(
            f"y_true and y_pred of {metric} must be (B, ...) and (B, O), with a row at least; "
            f"got {truth.shape} and {predicted.shape}"
        )
    return truth, predicted


def as_metric(given: str | Metric, loss: Loss | LossFunction) -> tuple[str, Metric]:
    """The name of a metric and its function. "accuracy" means what the loss makes of an output: the largest
    of several classes, or each output by itself, as a probability or as a logit.
    """
    if callable(given) and not isinstance(given, type):
        return getattr(given, "__name__", type(given).__name__), given
    if not isinstance(given, str):
        raise TypeError(f"metrics must be names or functions (y_true, y_pred); got {described(given)}")
    if given == "accuracy":
        return given, _ACCURACIES[_MEANINGS[loss.kind] if isinstance(loss, Loss) else "none"]
    if given not in _NAMED:
        raise unknown_name("metric", given, ["accuracy", *_NAMED], "a function (y_true, y_pred) or ")
    return given, _NAMED[given]


def counting(metric: Metric) -> Counting | None:
    """The function that counts what a metric of the library is the fraction of: counts of several chunks add
    up. None for other metrics.
    """
    return next((count for known, count in _COUNTS if known is metric), None)


def _logit_accuracy(y_true: NDArray[Any], y_pred: NDArray[Any]) -> float:
    right, total = _count_signs(y_true, y_pred)
    return right / total


#: What the core says "accuracy" means with a loss, and its function.
_MEANINGS: dict[str, str] = {entry["name"]: entry["accuracy"] for entry in _core.entries["losses"]}
_ACCURACIES: dict[str, Metric] = {
    "none": accuracy,
    "largest_class": accuracy,
    "probability": binary_accuracy,
    "logit": _logit_accuracy,
}
#: By name, beside "accuracy", which means what the loss says.
_NAMED: dict[str, Metric] = {"binary_accuracy": binary_accuracy}
_COUNTS: tuple[tuple[Metric, Counting], ...] = (
    (accuracy, _count_classes),
    (binary_accuracy, _count_sides),
    (_logit_accuracy, _count_signs),
)
