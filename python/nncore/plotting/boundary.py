"""The decision boundary: the class that a model of two features predicts at each point of the plane."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import as_inputs
from .._errors import check_number, check_size, described, unknown_name
from .axes import check_axes, one_axes, require
from .classes import as_classes, check_class_names
from .plotted import Plotted, check_model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_MARGIN = 0.1  # around the data, of its range
_MOST_IN_LEGEND = 10
_TWO_COLORS = ("tab:blue", "tab:red")  # below the threshold, and from it on


def decision_boundary(
    model: Plotted,
    x: Any,
    y: Any = None,
    *,
    output: str | int | None = None,
    class_names: Iterable[Any] | None = None,
    threshold: float = 0.5,
    resolution: int = 200,
    ax: Axes | None = None,
) -> Axes:
    """Draws the predictions of a model with two features around the samples x; returns the axes.

    The model has one input of 2 features, or two inputs of 1 feature each. x is an array (B, 2), or one table
    for each input. The axes cover its range and a tenth of that on each side. With y, class indices (B,) or
    one-hot rows (B, O), the samples are drawn in the colors of their classes.

    For an output of O > 1 features, the color shows the class whose feature is largest. For O = 1, the color
    shows the output, and a line marks where it equals `threshold`: use 0.5 for probabilities and 0 for
    logits. `output`, a name or an index, selects one of several outputs. The model predicts `resolution` x
    `resolution` points.

    Raises ValueError for models with other inputs, and for an x that is empty or not finite; TypeError if
    `model` is not a Model.

    >>> import nncore as nc
    >>> model = nc.mlp([2, 8, 3], output="softmax", seed=0)
    >>> axes = nc.plotting.decision_boundary(model, [[0.0, 0.0], [1.0, 2.0]], [0, 2])
    >>> [text.get_text() for text in axes.get_legend().texts]
    ['0', '1', '2']
    """
    check_model(model)
    samples, labels = _read_samples(model, x)
    place = _place_of(output, model.output_names)
    width = model.outputs[place].features
    threshold = check_number(threshold, "threshold")
    resolution = check_size(resolution, "resolution", least=2)
    names = check_class_names(class_names, max(width, 2))
    classes = None if y is None else as_classes(y, "y", width, len(samples), "x")
    if ax is not None:
        check_axes(ax)
    across, along = (_range(column, resolution) for column in samples.T)
    grid = np.stack(np.meshgrid(across, along), axis=-1).reshape(-1, 2)
    outputs = model.predict(grid if len(model.inputs) == 1 else [grid[:, :1], grid[:, 1:]])
    field = (outputs if len(model.outputs) == 1 else outputs[place]).reshape(resolution, resolution, width)
    axes = one_axes(ax)
    if width == 1:
        colors: Sequence[Any] = _TWO_COLORS
        _draw_values(axes, (across, along), field[..., 0], threshold, model.output_names[place])
    else:
        colors = _class_colors(width)
        _draw_classes(axes, (across, along), field, colors)
    _draw_samples(axes, samples, classes, colors, names)
    axes.set(
        xlabel=labels[0],
        ylabel=labels[1],
        xlim=(across[0], across[-1]),
        ylim=(along[0], along[-1]),
    )
    return axes


def _read_samples(model: Plotted, x: Any) -> tuple[NDArray[Any], list[str]]:
    """The samples (B, 2) and the names of their columns."""
    widths = [value.features for value in model.inputs]
    if widths not in ([2], [1, 1]):
        raise ValueError(f"model must have one input of 2 features, or two of 1; got {widths}")
    for value, name in zip(model.inputs, model.input_names, strict=True):
        if value.is_integer:
            raise ValueError(f"inputs of model must be of floats; got {name!r}, which is of integers")
    tables = as_inputs(x, model.input_names, widths, model.feature_names)
    samples = np.concatenate([table.present() for table in tables], axis=1).astype(np.float64)
    if len(samples) == 0:
        raise ValueError("x must have at least one sample; got none")
    if not np.isfinite(samples).all():
        row = np.flatnonzero(~np.isfinite(samples).all(axis=1))[0]
        raise ValueError(f"x must be finite; got {samples[row]} in row {row}")
    labels: list[str] = []
    for name, width in zip(model.input_names, widths, strict=True):
        default = [f"{name}[{column}]" for column in range(width)] if width > 1 else [name]
        labels += map(str, model.feature_names.get(name, default))
    return samples, labels


def _place_of(output: str | int | None, names: Sequence[str]) -> int:
    """The index of an output given by name or index; None means the only one."""
    if output is None and len(names) == 1:
        return 0
    if isinstance(output, str) and output in names:
        return list(names).index(output)
    if isinstance(output, str) or output is None:
        raise unknown_name("output", output, names)
    try:
        return range(len(names))[output]
    except IndexError:
        raise ValueError(f"output must be below {len(names)}; got {output}") from None
    except TypeError:
        raise TypeError(f"output must be a name or an index; got {described(output)}") from None


def _range(column: NDArray[Any], points: int) -> NDArray[Any]:
    """Points from below the least number to above the greatest."""
    least, greatest = column.min(), column.max()
    margin = _MARGIN * (greatest - least) or 0.5
    return np.linspace(least - margin, greatest + margin, points)


def _draw_values(
    axes: Axes, places: tuple[NDArray[Any], NDArray[Any]], field: NDArray[Any], threshold: float, name: str
) -> None:
    """One output as tints, and a line at the threshold, where the tint is white."""
    below, above = _tints(_TWO_COLORS)
    tints = require("matplotlib.colors").LinearSegmentedColormap.from_list("", [below, "white", above])
    distance = np.abs(field[np.isfinite(field)] - threshold).max(initial=0.0) or 1.0
    ends: Any = {"vmin": threshold - distance, "vmax": threshold + distance}
    image = _mesh(axes, places, field, tints, **ends)
    bar = axes.figure.colorbar(image, ax=axes, label=f"output {name}")
    if field.min() < threshold < field.max():
        bar.add_lines(axes.contour(*places, field, levels=[threshold], colors="black"))


def _draw_classes(
    axes: Axes, places: tuple[NDArray[Any], NDArray[Any]], field: NDArray[Any], colors: Sequence[Any]
) -> None:
    """The tint of the class whose feature is largest."""
    classes = np.where(np.isnan(field).any(axis=-1), np.nan, field.argmax(axis=-1))
    tints = require("matplotlib.colors").ListedColormap(_tints(colors))
    _mesh(axes, places, classes, tints, vmin=-0.5, vmax=len(colors) - 0.5)


def _mesh(
    axes: Axes, places: tuple[NDArray[Any], NDArray[Any]], field: NDArray[Any], colors: Any, **ends: Any
) -> Any:
    return axes.pcolormesh(*places, field, cmap=colors, shading="nearest", rasterized=True, **ends)


def _draw_samples(
    axes: Axes,
    samples: NDArray[Any],
    classes: NDArray[np.int64] | None,
    colors: Sequence[Any],
    names: Sequence[str],
) -> None:
    """The samples of each class, and the legend of the colors."""
    patch = require("matplotlib.patches").Patch
    handles = []
    for label, (color, tint, name) in enumerate(zip(colors, _tints(colors), names, strict=True)):
        if classes is None:
            handles.append(patch(color=tint, label=name))
            continue
        x, y = samples[classes == label].T
        style: Any = {"color": color, "edgecolors": "white", "linewidths": 0.6}
        handles.append(axes.scatter(x, y, s=24, label=name, **style))
    if len(names) <= _MOST_IN_LEGEND:
        axes.legend(handles=handles, title="class", framealpha=0.9)


def _tints(colors: Sequence[Any]) -> list[NDArray[Any]]:
    """Lighter colors, against which samples stand out."""
    to_rgb = require("matplotlib.colors").to_rgb
    return [0.4 * np.array(to_rgb(color)) + 0.6 for color in colors]


def _class_colors(classes: int) -> list[Any]:
    """A color for each class."""
    maps = require("matplotlib").colormaps
    return list(maps["tab10"].colors[:classes] if classes <= 10 else maps["turbo"].resampled(classes).colors)
