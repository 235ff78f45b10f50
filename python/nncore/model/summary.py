"""The table that print(model) shows: a row for every input and layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..graph import Layer, Value

_MOST_NAMES = 8  # that a row shows of the values that a layer reads


def summary(title: str, values: Sequence[Value], value_names: Sequence[str]) -> str:
    """A table of a model's values in order, with their shapes and parameter counts, below a title."""
    rows = [("name", "layer", "reads", "output", "parameters")]
    names = dict(zip(values, value_names, strict=True))
    counted: set[Layer] = set()
    for value in values:
        if value.layer is None:
            rows.append((names[value], "Input", "", f"(B, {value.features})", ""))
            continue
        reads = _some([names[read] for read in value.inputs])
        count = _count_text(value.layer, shared=value.layer in counted)
        counted.add(value.layer)
        rows.append((names[value], repr(value.layer), reads, f"(B, {value.features})", count))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join([title, *lines])


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
