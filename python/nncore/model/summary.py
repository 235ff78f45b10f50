"""The rows that print(model), notebooks and pictures show: one for every input and layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .._summary import Box, html_table
from ..graph import Layer, Value

_HEADER = ("name", "layer", "reads", "output", "parameters")
_MOST_NAMES = 8  # of the values that one reads


def summary_boxes(
    values: Sequence[Value], value_names: Sequence[str], outputs: Sequence[Value] = ()
) -> list[Box]:
    """A row for each of a model's values, in order, with its shape and parameter count."""
    places = {value: place for place, value in enumerate(values)}
    ends, counted, boxes = set(outputs), set[Layer](), []
    for value, name in zip(values, value_names, strict=True):
        layer, is_output = value.layer, value in ends
        if layer is None:
            boxes.append(Box(name, "Input", (), value.features, "", is_output))
            continue
        count = _count_text(layer, shared=layer in counted)
        counted.add(layer)
        reads = [places[read] for read in value.inputs]
        boxes.append(Box(name, repr(layer), reads, value.features, count, is_output))
    return boxes


def summary(title: str, boxes: Sequence[Box]) -> str:
    """The rows as a table of text."""
    rows = [_HEADER, *_cells(boxes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join([title, *lines])


def html_summary(title: str, boxes: Sequence[Box]) -> str:
    """The rows as a table of HTML."""
    return html_table(title, _HEADER, _cells(boxes), "lllrr")


def _cells(boxes: Sequence[Box]) -> list[tuple[str, ...]]:
    """The texts of a table."""
    return [
        (
            box.name,
            box.layer,
            _some([boxes[i].name for i in box.reads]),
            f"(B, {box.features})",
            box.parameters,
        )
        for box in boxes
    ]


def _some(names: list[str]) -> str:
    """The names, or only the first few: one long row would widen all rows."""
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[:_MOST_NAMES])}, ... ({len(names)})"


def _count_text(layer: Layer, *, shared: bool) -> str:
    if shared:
        return "shared"
    count = sum(math.prod(spec.shape) for spec in layer.parameter_specs().values())
    return f"{count:,}" if layer.trainable or not count else f"{count:,} frozen"


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    *texts, count = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
    return "  ".join([*texts, count.strip().rjust(widths[-1])])
