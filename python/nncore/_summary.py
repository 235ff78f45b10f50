"""The rows of a model's summary, and tables for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

_SIDES = {"l": "left", "r": "right"}


class Box(NamedTuple):
    """A value of a model: a row in `print(model)`, a box in `model.plot()`."""

    name: str
    layer: str
    reads: Sequence[int]  # indices of earlier boxes
    features: int
    parameters: str  # such as "1,056" or "shared"; "" for inputs
    is_output: bool


def html_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], sides: str) -> str:
    """A table of texts with a title above; `sides` has "l" or "r" for each column.

    >>> html_table("<1>", ["a"], [["b & c"]], "l").count("&lt;1&gt;")
    1
    """
    from html import escape  # costs as much to import as several rooms

    styles = [f'style="text-align: {_SIDES[side]}"' for side in sides]

    def line(tag: str, cells: Sequence[str]) -> str:
        pairs = zip(cells, styles, strict=True)
        return "<tr>" + "".join(f"<{tag} {style}>{escape(cell)}</{tag}>" for cell, style in pairs) + "</tr>"

    body = "\n".join(line("td", row) for row in rows)
    head = line("th", header)
    caption = f'<caption style="text-align: left">{escape(title)}</caption>'
    return f"<table>\n{caption}\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"
