"""Metrics, which are reported but not trained on: functions metric(y_true, y_pred) -> float."""

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
Counting: TypeAlias = "Callable[[NDArray[Any], NDArray[Any]], tuple[int, int]]"  # how many are right, of all


def accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """The fraction of samples whose largest output is that of the true class, in [0, 1].

    y_pred (B, O) holds probabilities or logits. y_true holds class indices (B,) or (B, 1), or one-hot rows
    (B, O). With a single output (O = 1), a probability of at least 0.5 means class 1. A row with a NaN counts
    as wrong.

    Raises ValueError for shapes that do not match, no samples, or masked entries (numpy.ma), and TypeError
    for dtypes other than bool, integers and floats.

    >>> accuracy([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    0.6666666666666666
    """
    right, total = _count_classes(y_true, y_pred)
    return right / total


def binary_accuracy(y_true: ArrayLike, y_pred: ArrayLike, threshold: float = 0.5) -> float:
    """The fraction of outputs on the right side of `threshold`, each output counted by itself, in [0, 1].

    y_pred has shape (B, O); y_true has the same shape, or (B,) if O is 1. An output is right if
    y_pred >= threshold where y_true >= 0.5, and y_pred < threshold elsewhere. A NaN counts as wrong.

    Raises ValueError for shapes that do not match, no samples, or masked entries (numpy.ma), and TypeError
    for dtypes other than bool, integers and floats.

    >>> binary_accuracy([0, 1, 1], [[0.2], [0.9], [0.4]])
    0.6666666666666666
    """
    right, total = _count_sides(y_true, y_pred, check_number(threshold, "threshold"))
    return right / total


def _count_classes(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[int, int]:
    """The number of rows that `accuracy` counts as right, and of all rows."""
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
    """The number of outputs that `binary_accuracy` counts as right, and of all outputs."""
    truth, predicted = _rows("binary_accuracy", y_true, y_pred)
    if truth.size != predicted.size:
        raise ValueError(f"y_true must have the shape of y_pred, {predicted.shape}; got {truth.shape}")
    right = (truth.reshape(predicted.shape) >= 0.5) == (predicted >= threshold)
    return int(np.count_nonzero(right & ~np.isnan(predicted))), right.size


def _count_signs(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[int, int]:
    """As `_count_sides`, for logits."""
    return _count_sides(y_true, y_pred, threshold=0.0)


def _rows(metric: str, y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as arrays with the same number of rows, at least one."""
    truth, predicted = as_numbers(y_true, "y_true"), as_numbers(y_pred, "y_pred")
    if predicted.ndim != 2 or truth.ndim == 0 or len(truth) != len(predicted) or predicted.size == 0:
        raise ValueError(
            f"y_true and y_pred of {metric} must be (B, ...) and (B, O), with at least one row; "
            f"got {truth.shape} and {predicted.shape}"
        )
    return truth, predicted


def as_metric(given: str | Metric, loss: Loss | LossFunction) -> tuple[str, Metric]:
    """The name of a metric and its function.

    The meaning of "accuracy" depends on the loss: the largest of several classes, or each output by itself
    as a probability or a logit.
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
    """The function that counts right outputs for one of the library's metrics. None for other metrics.

    Unlike fractions, counts of several chunks can be added.
    """
    return next((count for known, count in _COUNTS if known is metric), None)


def _logit_accuracy(y_true: NDArray[Any], y_pred: NDArray[Any]) -> float:
    right, total = _count_signs(y_true, y_pred)
    return right / total


#: The meaning of "accuracy" for each loss, as the core gives it, and the function for each meaning.
_MEANINGS: dict[str, str] = {entry["name"]: entry["accuracy"] for entry in _core.entries["losses"]}
_ACCURACIES: dict[str, Metric] = {
    "none": accuracy,
    "largest_class": accuracy,
    "probability": binary_accuracy,
    "logit": _logit_accuracy,
}
#: Metrics by name, except "accuracy", whose meaning depends on the loss.
_NAMED: dict[str, Metric] = {"binary_accuracy": binary_accuracy}
_COUNTS: tuple[tuple[Metric, Counting], ...] = (
    (accuracy, _count_classes),
    (binary_accuracy, _count_sides),
    (_logit_accuracy, _count_signs),
)
