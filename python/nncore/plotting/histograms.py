"""Histograms of a model's weights and activations; dead relu units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import check_list, check_size, unknown_name
from ..layers.activation_base import Activation
from ..layers.activations import ReLU
from .axes import SeveralAxes, require, tidy, tiled_panels
from .plotted import Plotted, check_model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_WRONG = "tab:red"


def weight_histograms(
    model: Plotted, names: str | Iterable[str] | None = None, *, bins: int = 50, ax: SeveralAxes = None
) -> list[Axes]:
    """Draws a histogram of each array of parameters; returns the axes of the panels.

    `names` are keys of `model.named_parameters()`; None draws all arrays of two dimensions, which leaves out
    biases. Each panel has `bins` bars. Non-finite parameters are left out, and their number is written above
    the panel in red. `ax` holds axes for each panel.

    Raises ValueError for unknown names, models without parameters and a wrong number of axes; TypeError if
    `model` is not a Model.

    >>> import nncore as nc
    >>> axes = nc.plotting.weight_histograms(nc.mlp([4, 8, 3], seed=0))
    >>> [one.get_title() for one in axes]
    ['0.weight (8, 4)', '2.weight (3, 8)']
    """
    check_model(model)
    arrays = model.named_parameters()
    weights = [name for name, array in arrays.items() if array.ndim == 2] or list(arrays)
    chosen = _choose(names, weights, list(arrays), "a layer with parameters")
    bins = check_size(bins, "bins")
    axes = tiled_panels(ax, chosen)
    for one, name in zip(axes, chosen, strict=True):
        _draw(one, f"{name} {arrays[name].shape}", arrays[name].ravel(), bins)
        one.set_xlabel("parameter")
    return axes


def activation_histograms(
    model: Plotted,
    x: Any,
    names: str | Iterable[str] | None = None,
    *,
    bins: int = 50,
    ax: SeveralAxes = None,
) -> list[Axes]:
    """Draws a histogram of the outputs of layers for the samples x; returns the axes of the panels.

    x as for `Model.predict`. All outputs are held in memory at once; a few thousand samples are enough.
    `names` are from the first column of `print(model)`; None draws all activations. Histograms of relu leave
    out zeros; the share of zeros is written above the panel. So is, in red, the number of dead units: units
    that are zero for all samples, so that no gradient reaches their weights. `dead_units` returns their
    indices. As in predictions, dropout is off and batch normalization uses its running statistics.

    Raises ValueError for an empty x, unknown names, models without activations and a wrong number of axes;
    TypeError if `model` is not a Model.

    >>> import nncore as nc
    >>> model = nc.mlp([4, 8, 3], activation="relu", output="softmax", seed=0)
    >>> model["0"].bias[:2] = -100
    >>> relu, softmax = nc.plotting.activation_histograms(model, [[1.0, 2.0, 3.0, 4.0]])
    >>> relu.texts[-1].get_text().endswith("of 8 units dead")
    True
    """
    check_model(model)
    places = dict(zip(model.value_names, range(len(model.values)), strict=True))
    layers = {name: model.values[place].layer for name, place in places.items()}
    usual = [name for name, layer in layers.items() if isinstance(layer, Activation)]
    chosen = _choose(names, usual, list(places), "an activation")
    bins = check_size(bins, "bins")
    found = _compute(model, x, [places[name] for name in chosen])
    axes = tiled_panels(ax, chosen)
    for one, name, numbers in zip(axes, chosen, found, strict=True):
        layer, shown, note, dead = layers[name], numbers.ravel(), "", ""
        if isinstance(layer, ReLU):
            shown = shown[shown != 0]
            note = f"{1 - shown.size / numbers.size:.0%} zero"
            if count := len(_dead(numbers)):
                dead = f"{count} of {numbers.shape[1]} units dead"
        _draw(one, f"{name}: {'Input' if layer is None else layer!r}", shown, bins, note, dead)
        one.set_xlabel("output")
    return axes


def dead_units(model: Plotted, x: Any) -> dict[str, NDArray[np.int64]]:
    """The indices of the units that are zero for all samples x, for each relu by its name in `print(model)`.

    x as for `Model.predict`. No gradient of these samples reaches the weights of a dead unit. matplotlib is
    not needed. Raises ValueError for an empty x, and TypeError if `model` is not a Model.

    >>> import nncore as nc
    >>> model = nc.mlp([2, 4, 1], activation="relu", seed=0)
    >>> model[0].weight[:], model[0].bias[:] = 0, [1, -1, 1, -1]
    >>> nc.plotting.dead_units(model, [[0.0, 0.0], [1.0, 1.0]])
    {'1': array([1, 3])}
    """
    check_model(model)
    places = [place for place, value in enumerate(model.values) if isinstance(value.layer, ReLU)]
    found = _compute(model, x, places)
    names = model.value_names
    return {names[place]: _dead(numbers) for place, numbers in zip(places, found, strict=True)}


def _compute(model: Plotted, x: Any, places: Sequence[int]) -> list[NDArray[Any]]:
    found = model.predict_values(x, places)
    if any(len(numbers) == 0 for numbers in found):
        raise ValueError("x must have at least one sample; got none")
    return found


def _dead(numbers: NDArray[Any]) -> NDArray[np.int64]:
    return np.flatnonzero((numbers == 0).all(axis=0))


def _choose(names: str | Iterable[str] | None, usual: list[str], known: list[str], needed: str) -> list[str]:
    """The names that were asked for, or the usual ones."""
    if names is None:
        if not usual:
            raise ValueError(f"model must have {needed}; got none")
        return usual
    chosen = [names] if isinstance(names, str) else check_list(names, "names", "names")
    for name in chosen:
        if name not in known:
            raise unknown_name("names", name, known)
    if not chosen:
        raise ValueError("names must be at least one name; got none")
    return list(dict.fromkeys(chosen))


def _draw(axes: Axes, title: str, numbers: NDArray[Any], bins: int, note: str = "", dead: str = "") -> None:
    """The bars, the title, and between them notes on what the bars leave out; problems are in red."""
    finite = numbers[np.isfinite(numbers)].astype(np.float64)
    lost = numbers.size - finite.size
    wrong = ", ".join(text for text in (dead, f"{lost:,} not finite" if lost else "") if text)
    axes.hist(finite, bins=bins, color="tab:blue")
    axes.set_ylabel("count")
    axes.yaxis.set_major_locator(require("matplotlib.ticker").MaxNLocator("auto", integer=True))
    axes.set_title(title, fontsize=10, pad=16)  # leaves room for notes
    tidy(axes)
    for text, place, side, color in ((note, 0, "left", "black"), (wrong, 1, "right", _WRONG)):
        if text:
            where: Any = {"xy": (place, 1), "xycoords": "axes fraction", "textcoords": "offset points"}
            axes.annotate(text, xytext=(0, 4), ha=side, fontsize=8, color=color, **where)
