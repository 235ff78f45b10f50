"""The confusion matrix: true classes against predicted ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import as_numbers
from .._errors import check_number, unknown_name
from .axes import check_axes, one_axes, require
from .classes import as_classes, check_class_names, check_indices, check_no_nan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_NORMALIZATIONS = ("true", "pred", "all")
_MOST_NUMBERS = 20  # classes; with more, the numbers overlap


def confusion_matrix(
    y_true: Any,
    y_pred: Any,
    *,
    class_names: Iterable[Any] | None = None,
    threshold: float = 0.5,
    normalize: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws how often each true class (rows) was predicted as each class (columns); returns the axes.

    y_pred (B, O) are a model's outputs, probabilities or logits; the largest gives the class. With O = 1,
    outputs of at least `threshold` are class 1: use 0.5 for probabilities and 0 for logits. y_pred may also
    be class indices (B,). y_true holds class indices, (B,) or (B, 1), or one-hot rows (B, O). `normalize` is
    "true", "pred" or "all", as in sklearn.metrics.confusion_matrix: counts become fractions of the row, the
    column or all samples.

    scikit-learn's ConfusionMatrixDisplay draws the matrix. Zero counts are left blank. With more than 20
    classes, colors and a color bar replace the numbers. Raises ValueError for shapes that do not match, no
    samples, NaN, and class indices out of range; TypeError for other dtypes.

    >>> import nncore as nc
    >>> axes = nc.plotting.confusion_matrix([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    >>> sorted(text.get_text() for text in axes.texts if text.get_visible())
    ['1', '1', '1']
    """
    truth, guesses, classes = _classes(y_true, y_pred, check_number(threshold, "threshold"))
    names = check_class_names(class_names, classes)
    if normalize not in (None, *_NORMALIZATIONS):
        raise unknown_name("normalize", normalize, _NORMALIZATIONS, "None or ")
    metrics = require("sklearn.metrics")
    if ax is not None:
        check_axes(ax)
    matrix = metrics.confusion_matrix(truth, guesses, labels=range(classes), normalize=normalize)
    axes = one_axes(ax, (max(4.8, 1.6 + 0.34 * min(classes, _MOST_NUMBERS)),) * 2)
    with_numbers = classes <= _MOST_NUMBERS
    is_long = max(map(len, names)) > 3
    display = metrics.ConfusionMatrixDisplay(matrix, display_labels=names).plot(
        ax=axes,
        cmap="Blues",
        colorbar=False,
        include_values=with_numbers,
        values_format="d" if normalize is None else ".2f",
        xticks_rotation="vertical" if is_long else "horizontal",
        text_kw={"fontsize": 10 if classes <= 10 else 7},
    )
    if not with_numbers:
        axes.figure.colorbar(display.im_, ax=axes, shrink=0.8)
        for axis in (axes.xaxis, axes.yaxis):  # labels of all classes overlap
            step = -(-classes // _MOST_NUMBERS)
            axis.set_ticks(range(0, classes, step), names[::step])
    elif display.text_ is not None:
        for count, text in zip(matrix.flat, display.text_.flat, strict=True):
            text.set_visible(count > 0)
    axes.set(xlabel="predicted", ylabel="true")
    return axes


def _classes(y_true: Any, y_pred: Any, threshold: float) -> tuple[NDArray[Any], NDArray[Any], int]:
    """The true and the predicted classes (B,), and how many classes there are."""
    predicted = as_numbers(y_pred, "y_pred")
    if predicted.ndim not in (1, 2) or predicted.size == 0:
        raise ValueError(f"y_pred must be (B, O) or (B,), with a row at least; got {predicted.shape}")
    if predicted.ndim == 1:
        if predicted.dtype.kind not in "biu":
            raise TypeError(
                f"y_pred of shape (B,) must be class indices of an integer dtype; got {predicted.dtype}: "
                "reshape outputs to (-1, 1)"
            )
        guesses = check_indices(predicted, "y_pred")
        truth = as_numbers(y_true, "y_true")
        if truth.shape not in ((len(guesses),), (len(guesses), 1)):
            raise ValueError(f"y_true must be ({len(guesses)},), as y_pred is; got {truth.shape}")
        check_no_nan(truth, "y_true")
        truth = check_indices(truth.reshape(-1), "y_true")
        return truth, guesses, max(2, int(max(guesses.max(), truth.max())) + 1)
    check_no_nan(predicted, "y_pred")
    rows, outputs = predicted.shape
    truth = as_classes(y_true, "y_true", outputs, rows, "y_pred")
    if outputs == 1:
        return truth, (predicted[:, 0] >= threshold).astype(np.int64), 2
    return truth, predicted.argmax(axis=1), outputs
