"""The axes to draw on. matplotlib is imported here, when something is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from .._errors import described

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SeveralAxes: TypeAlias = "Axes | Iterable[Axes] | None"

_PACKAGES = {"matplotlib": "matplotlib", "sklearn": "scikit-learn"}


def require(module: str) -> Any:
    """A module of an optional package; ImportError, with the remedy, where the package is missing."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _PACKAGES:
            raise
        raise ImportError(
            f"nncore.plotting needs {_PACKAGES[package]}: pip install 'nncore-cpu[plot]'", name=error.name
        ) from error


def one_axes(ax: Axes | None, size: tuple[float, float] | None = None) -> Axes:
    """`ax`, or the axes of a new figure; `size` in inches."""
    if ax is not None:
        return check_axes(ax)
    axes: Axes = require("matplotlib.pyplot").subplots(figsize=size, layout="constrained")[1]
    return axes


def check_axes(ax: Any) -> Axes:
    """`ax`; TypeError unless it is matplotlib axes."""
    if not isinstance(ax, require("matplotlib.axes").Axes):
        raise TypeError(f"ax must be matplotlib axes; got {described(ax)}")
    axes: Axes = ax
    return axes


def given_panels(ax: SeveralAxes, panels: Sequence[str]) -> list[Axes]:
    """`ax` as a list with axes for each panel; ValueError for another number of axes."""
    flat = getattr(ax, "flat", ax)  # of an array, as subplots returns
    if isinstance(flat, require("matplotlib.axes").Axes) or not isinstance(flat, Iterable):
        flat = [flat]
    found = [check_axes(one) for one in flat]
    if len(found) != len(panels):
        raise ValueError(f"ax must be {len(panels)} axes, for {', '.join(panels)}; got {len(found)}")
    return found


def stacked_panels(ax: SeveralAxes, panels: Sequence[str], width: float) -> list[Axes]:
    """`ax`, or the stacked panels of a new figure, with a common x axis; `width` in inches."""
    if ax is not None:
        return given_panels(ax, panels)
    size = (width, 1.2 + 2.4 * len(panels))
    pyplot = require("matplotlib.pyplot")
    grid = pyplot.subplots(len(panels), figsize=size, sharex=True, squeeze=False, layout="constrained")[1]
    return list(grid.flat)


def tiled_panels(ax: SeveralAxes, panels: Sequence[str]) -> list[Axes]:
    """`ax`, or the panels of a new figure, in rows of up to three."""
    if ax is not None:
        return given_panels(ax, panels)
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    size = (max(6.4, 3.8 * columns), 0.4 + 2.6 * rows)
    figure = require("matplotlib.pyplot").figure(figsize=size, layout="constrained")
    return [figure.add_subplot(rows, columns, place) for place in range(1, len(panels) + 1)]


def tidy(axes: Axes) -> None:
    """A faint grid behind the data, and no frame at the top and right."""
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
