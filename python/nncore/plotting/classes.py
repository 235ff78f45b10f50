"""The classes that targets and outputs stand for, as in `metrics.accuracy`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import as_numbers
from .._errors import check_list

if TYPE_CHECKING:
    from numpy.typing import NDArray


def as_classes(y: Any, argument: str, outputs: int, rows: int, others: str) -> NDArray[np.int64]:
    """The classes (B,) of targets y: class indices (B,) or (B, 1), or one-hot rows (B, O). With one output,
    a target of at least 0.5 is class 1. `others` names the argument that y has to match.
    """
    truth = as_numbers(y, argument)
    if truth.shape in ((rows,), (rows, 1)):
        truth = truth.reshape(-1)
    elif truth.shape != (rows, outputs):
        one_hot = f" or ({rows}, {outputs})" if outputs > 1 else ""
        raise ValueError(f"{argument} must be ({rows},){one_hot}, as {others} has; got {truth.shape}")
    check_no_nan(truth, argument)
    if truth.ndim == 2:
        classes: NDArray[np.int64] = truth.argmax(axis=1)
        return classes
    if outputs == 1:
        return (truth >= 0.5).astype(np.int64)
    return check_indices(truth, argument, outputs)


def check_indices(given: NDArray[Any], argument: str, classes: int | None = None) -> NDArray[np.int64]:
    """Class indices of any dtype as int64; ValueError unless they are whole and in [0, classes)."""
    wrong = (given < 0) | (given != np.floor(given)) if given.dtype != bool else np.zeros(given.shape, bool)
    if classes is not None:
        wrong = wrong | (given >= classes)
    if wrong.any():
        below = "" if classes is None else f" below {classes}"
        raise ValueError(f"{argument} must be class indices{below}; got {given[wrong][0]}")
    return given.astype(np.int64)


def check_no_nan(array: NDArray[Any], argument: str) -> None:
    """ValueError if any row has a NaN."""
    rows = np.isnan(array).reshape(len(array), -1).any(axis=1)
    if rows.any():
        raise ValueError(f"{argument} must have no NaN; got NaN in {rows.sum()} of {len(array)} rows")


def check_class_names(names: Iterable[Any] | None, classes: int) -> list[str]:
    """A name for each class: by default its index."""
    if names is None:
        return [str(label) for label in range(classes)]
    found = [str(name) for name in check_list(names, "class_names", "names")]
    if len(found) != classes:
        raise ValueError(f"class_names must be {classes} names; got {len(found)}")
    return found
