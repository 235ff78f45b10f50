"""Learning curves: the columns of a history over its epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import as_numbers
from .._errors import check_list, described, unknown_name
from .axes import SeveralAxes, require, stacked_panels, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_VALIDATION = "val_"
_UNASKED = ("learning_rate", "seconds")  # drawn only on request


def learning_curves(
    history: Mapping[str, Sequence[float]],
    columns: str | Iterable[str] | None = None,
    *,
    ax: SeveralAxes = None,
) -> list[Axes]:
    """Draws columns of a history over the epochs, counted from 1, and returns the axes of its panels.

    `history` is a History, or a dict of lists of equal length. `columns` names the columns to draw, each
    together with its val_ column; None draws all but "learning_rate" and "seconds". Columns whose names end
    in the same word, such as "speed_error" and "turn_error", share a panel. The axis of the loss is
    logarithmic if all losses are positive and the largest is at least 10 times the smallest. NaN leaves a
    gap.

    `ax` holds axes for each panel. Raises ValueError for a history without epochs, unknown columns and a
    wrong number of axes; TypeError for other types.

    >>> import nncore as nc
    >>> [axes] = nc.plotting.learning_curves({"loss": [0.9, 0.5], "val_loss": [1.0, 0.7]})
    >>> axes.get_ylabel(), len(axes.lines)
    ('loss', 2)
    """
    table = _read(history)
    panels: dict[str, list[str]] = {}
    for name in _choose(table, columns):
        panels.setdefault(name.rpartition("_")[2], []).append(name)
    titles = [names[0] if len(names) == 1 else word for word, names in panels.items()]
    axes = stacked_panels(ax, titles, 8.6 if any(len(names) > 1 for names in panels.values()) else 6.4)
    for one, title, names in zip(axes, titles, panels.values(), strict=True):
        _draw(one, title, names, table)
        if ax is None:
            one.label_outer()
    return axes


def _read(history: Any) -> dict[str, NDArray[Any]]:
    """The columns as arrays of one length."""
    if not isinstance(history, Mapping):
        raise TypeError(f"history must be a History or a dict of columns; got {described(history)}")
    table = {name: as_numbers(history[name], f"history[{name!r}]") for name in history}
    for name, column in table.items():
        if column.ndim != 1:
            raise ValueError(
                f"history[{name!r}] must be a list of one number per epoch; got shape {column.shape}"
            )
    if len(lengths := {len(column) for column in table.values()}) > 1:
        raise ValueError(f"columns of history must have equal lengths; got {sorted(lengths)}")
    if not any(lengths):
        raise ValueError("history must have at least one epoch; got none")
    return table


def _choose(table: Mapping[str, Any], columns: str | Iterable[str] | None) -> list[str]:
    """The columns to draw, without the val_ columns that are drawn beside others."""
    if columns is None:
        companions = {_VALIDATION + name for name in table}
        return [name for name in table if name not in companions and name not in _UNASKED] or list(table)
    chosen = [columns] if isinstance(columns, str) else check_list(columns, "columns", "names")
    for name in chosen:
        if name not in table:
            raise unknown_name("columns", name, table)
    if not chosen:
        raise ValueError("columns must be at least one name; got none")
    return list(dict.fromkeys(chosen))


def _draw(axes: Axes, title: str, names: Sequence[str], table: Mapping[str, NDArray[Any]]) -> None:
    """One panel. Colors distinguish training from validation, or columns where the panel has several."""
    drawn = []
    for place, name in enumerate(names):
        for is_validation, column in enumerate((name, _VALIDATION + name)):
            if column not in table:
                continue
            if len(names) == 1:
                label = ("training", "validation")[is_validation or name.startswith(_VALIDATION)]
                style: Any = {"color": f"C{is_validation}"}
            else:
                label = column
                style = {"color": f"C{place}", "linestyle": ("-", "--")[is_validation]}
            drawn.append(table[column])
            epochs = np.arange(1, len(drawn[-1]) + 1)
            if lonely := _lonely(drawn[-1]):
                style |= {"marker": ".", "markevery": lonely}
            axes.plot(epochs, drawn[-1], label=label, **style)
    values = np.concatenate(drawn)
    values = values[np.isfinite(values)]
    if title == "loss" and values.size and values.min() > 0 and values.max() >= 10 * values.min():
        axes.set_yscale("log")
    axes.set(xlabel="epoch", ylabel=title)
    axes.xaxis.set_major_locator(require("matplotlib.ticker").MaxNLocator("auto", integer=True))
    if len(drawn[0]) == 1:
        axes.set_xticks([1])  # on so short an axis the locator labels fractions
    tidy(axes)
    if len(drawn) > 2:
        axes.legend(
            frameon=False, loc="upper left", bbox_to_anchor=(1, 1)
        )  # inside, so large a legend hides lines
    elif len(drawn) == 2:
        axes.legend(frameon=False)


def _lonely(column: NDArray[Any]) -> list[int]:
    """The places of finite numbers without finite neighbors, which no line segment shows."""
    finite = np.isfinite(np.pad(column.astype(float), 1, constant_values=np.nan))
    return [int(i) for i in np.flatnonzero(finite[1:-1] & ~finite[:-2] & ~finite[2:])]
