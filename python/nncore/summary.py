"""What print(model) shows: a row for every layer, and the sums."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .layers import Layer

if TYPE_CHECKING:
    from .model import Model


def summary(model: Model) -> str:
    """A table of the model's layers with their shapes and parameter counts."""
    rows = [("name", "layer", "reads", "output", "parameters")]
    names = dict(zip(model.values, (node.name for node in model.graph.nodes), strict=True))
    counted: set[Layer] = set()
    for value in model.values:
        if value.layer is None:
            rows.append((names[value], "Input", "", f"(B, {value.features})", ""))
            continue
        reads = ", ".join(names[read] for read in value.inputs)
        count = _count_text(value.layer, shared=value.layer in counted)
        counted.add(value.layer)
        rows.append((names[value], repr(value.layer), reads, f"(B, {value.features})", count))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join([_title(model), *lines])


def _title(model: Model) -> str:
    shapes = model.store.segments
    total = sum(view.size for view in model.named_parameters().values())
    text = f"{type(model).__name__}: {total:,} parameters, {model.dtype}, seed {model.seed}"
    if len(model.segments) < len(shapes):
        text += f" (in a store of {model.parameters.size:,})"
    return text


def _count_text(layer: Layer, *, shared: bool) -> str:
    if shared:
        return "shared"
    count = sum(math.prod(piece.shape) for piece in layer.pieces().values())
    return f"{count:,}" if layer.trainable or not count else f"{count:,} frozen"


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    *texts, count = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
    return "  ".join([*texts, count.strip().rjust(widths[-1])])
