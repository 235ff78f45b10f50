"""The graph of a model: a box for each row of its summary, an arrow for each value that a layer reads.

A layered drawing (Sugiyama, Tagawa and Toda, IEEE Trans. SMC 11, 1981): a box is drawn below all boxes that
it reads. An arrow that passes a row gets a cell of its own there. The barycenters of neighbors decide the
order within a row, and each cell is drawn as near to its neighbors as that order allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from .._summary import Box
from .axes import check_axes, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLE, _FONT, _SMALL = 12.0, 9.0, 7.5  # points, the unit of all lengths here
_HEIGHT, _BETWEEN_ROWS, _BETWEEN, _MARGIN = 34.0, 26.0, 18.0, 10.0
_PASSING = 6.0  # the width of a cell that an arrow passes
_ABOUT = (8.0, 32.0)  # what the title and the edges add to the width and height of a figure
_LARGEST = 14400.0  # 200 inches, the longest side of a figure
_SWEEPS = 8
_LONGEST = 48  # characters
_FILLS = {"input": "#e6efe0", "parameters": "#dbe7f3", "other": "#f4f4f4"}
_LINE = "#444444"


@dataclass(eq=False)
class _Cell:
    """Where a box is, or where an arrow passes a row."""

    row: int
    width: float
    above: list[_Cell] = field(default_factory=list)
    below: list[_Cell] = field(default_factory=list)
    x: float = 0.0


class _Arrow(NamedTuple):
    """The cells of an arrow from end to end, and its index among the arrows that leave and reach those."""

    way: list[_Cell]
    leaving: int
    reaching: int


def draw_network(title: str, boxes: Sequence[Box], ax: Axes | None = None) -> Axes:
    """Draws boxes on `ax`, scaled down to fit, or on a new figure that is large enough."""
    texts = [_texts(box) for box in boxes]
    if ax is not None:
        check_axes(ax)
    widths = [max(_width(text, size) for text, size in lines) + 14 for lines in texts]
    cells, arrows = _lay_out(boxes, widths)
    left = min(cell.x - cell.width / 2 for cell in cells)
    right = max(cell.x + cell.width / 2 for cell in cells)
    rows = 1 + max(cell.row for cell in cells)
    wide = right - left + 2 * _MARGIN
    high = rows * (_HEIGHT + _BETWEEN_ROWS) - _BETWEEN_ROWS + 2 * _MARGIN
    title_width = _width(title, _TITLE) + 2 * _MARGIN
    if ax is None:
        size = max(wide, title_width) + _ABOUT[0], high + _ABOUT[1]
        scale = room = min(1.0, _LARGEST / max(size))
        inches = [scale * length / 72 for length in size]
        ax = require("matplotlib.pyplot").subplots(figsize=inches, layout="constrained")[1]
        assert ax is not None
    else:
        figure = ax.get_figure()
        assert figure is not None
        extent = ax.get_window_extent()
        width, height = 72 / figure.dpi * extent.width, 72 / figure.dpi * extent.height
        scale, room = min(1.0, width / wide, height / high), min(1.0, width / title_width)
    middle = (left + right) / 2
    ax.set(
        xlim=(middle - wide / 2, middle + wide / 2),
        ylim=(high - _MARGIN, -_MARGIN),
        aspect="equal",
        anchor="N",
    )
    ax.set_title(title, fontsize=_TITLE * room)
    ax.set_axis_off()
    for arrow in arrows:
        _draw_arrow(ax, arrow, scale)
    for box, lines, cell in zip(boxes, texts, cells, strict=False):
        _draw_box(ax, box, lines, cell, scale)
    return ax


def _texts(box: Box) -> list[tuple[str, float]]:
    """The two lines of text in a box and their font sizes."""
    counted = f"{box.parameters} parameters" if box.parameters[:1].isdigit() else box.parameters
    details = [box.name, f"(B, {box.features})", *([counted] if box.parameters not in ("", "0") else ())]
    lines = [(box.layer, _FONT), ("   ".join(details), _SMALL)]
    return [(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…", size) for text, size in lines]


def _width(text: str, size: float) -> float:
    """In points."""
    path = require("matplotlib.textpath").TextPath((0, 0), text, size=size)
    return float(path.get_extents().width) if text.strip() else 0.0


def _lay_out(boxes: Sequence[Box], widths: Sequence[float]) -> tuple[list[_Cell], list[_Arrow]]:
    """The cells with their rows and x, those of boxes first; and the arrows."""
    cells: list[_Cell] = []
    for box, width in zip(boxes, widths, strict=True):
        cells.append(_Cell(1 + max((cells[read].row for read in box.reads), default=-1), width))
    arrows = []
    lanes: dict[tuple[int, int], _Cell] = {}  # arrows from one box pass a row together
    for place, box in enumerate(boxes):
        for read in box.reads:
            way, end = [cells[read]], cells[place]
            for row in range(way[0].row + 1, end.row):
                if (read, row) not in lanes:
                    cells.append(lanes.setdefault((read, row), _Cell(row, _PASSING)))
                    _link(way[-1], cells[-1])
                way.append(lanes[read, row])
            _link(way[-1], end)
            leaving = way[0].below.index(way[1]) if len(way) > 1 else len(way[0].below) - 1
            arrows.append(_Arrow([*way, end], leaving, len(end.above) - 1))
    rows: list[list[_Cell]] = [[] for _ in range(1 + max(cell.row for cell in cells))]
    for cell in cells:
        rows[cell.row].append(cell)
    _order(rows)
    _place(rows)
    return cells, arrows


def _link(upper: _Cell, lower: _Cell) -> None:
    upper.below.append(lower)
    lower.above.append(upper)


def _order(rows: list[list[_Cell]]) -> None:
    """Orders the cells of each row so that few arrows cross."""
    for row in rows:
        _number(row)
    best, fewest = [list(row) for row in rows], _crossings(rows)
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        for row in rows if downwards else reversed(rows):
            barycenters = {
                cell: sum(other.x for other in near) / len(near) if near else cell.x
                for cell in row
                for near in [cell.above if downwards else cell.below]
            }
            row.sort(key=barycenters.__getitem__)
            _number(row)
        if (count := _crossings(rows)) < fewest:
            best, fewest = [list(row) for row in rows], count
    rows[:] = best


def _number(row: Sequence[_Cell]) -> None:
    for place, cell in enumerate(row):
        cell.x = place - (len(row) - 1) / 2


def _crossings(rows: Sequence[Sequence[_Cell]]) -> int:
    """How many pairs of arrows cross."""
    count = 0
    for row in rows:
        ends = [sorted(other.x for other in cell.below) for cell in row]
        seen: list[float] = []
        for targets in ends:
            count += sum(other > target for target in targets for other in seen)
            seen += targets
    return count


def _place(rows: Sequence[list[_Cell]]) -> None:
    """Sets the x of each cell and keeps the order of its row."""
    for row in rows:
        _spread(row, [0.0] * len(row))
    for sweep in range(2 * _SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = []
            for cell in row:
                near = (cell.above if sweep % 2 == 0 else cell.below) or [cell]
                wanted.append(sum(other.x for other in near) / len(near))
            _spread(row, wanted)


def _spread(row: Sequence[_Cell], wanted: Sequence[float]) -> None:
    """Sets the x that are nearest to those wanted, in the sum of squares, without overlaps: an isotonic
    regression by the pool-adjacent-violators algorithm.
    """
    offsets = [0.0]
    for one, other in pairwise(row):
        offsets.append(offsets[-1] + (one.width + other.width) / 2 + _BETWEEN)
    pools: list[tuple[float, int]] = []  # means and sizes
    for place, offset in zip(wanted, offsets, strict=True):
        mean, size = place - offset, 1
        while pools and pools[-1][0] > mean:
            before, count = pools.pop()
            mean, size = (mean * size + before * count) / (size + count), size + count
        pools.append((mean, size))
    places = [mean for mean, size in pools for _ in range(size)]
    for cell, place, offset in zip(row, places, offsets, strict=True):
        cell.x = place + offset


def _top(cell: _Cell) -> float:
    return cell.row * (_HEIGHT + _BETWEEN_ROWS)


def _port(cell: _Cell, neighbors: Sequence[_Cell], use: int) -> float:
    """The x where an arrow meets a box; several arrows are spread in the order of their other ends."""
    order = sorted(range(len(neighbors)), key=lambda i: (neighbors[i].x, i))
    step = min(14.0, 0.8 * cell.width / len(neighbors))
    return cell.x + step * (order.index(use) - (len(neighbors) - 1) / 2)


def _draw_arrow(ax: Axes, arrow: _Arrow, scale: float) -> None:
    """From the bottom of one box to the top of another, straight through the cells between them."""
    start, *passed, end = arrow.way
    x, y = _port(start, start.below, arrow.leaving), _top(start) + _HEIGHT
    points = [(x, y)]
    for cell in (*passed, end):
        to = cell.x if cell is not end else _port(end, end.above, arrow.reaching)
        bend = (y + _top(cell)) / 2
        points += [(x, bend), (to, bend), (to, _top(cell))]
        x, y = to, _top(cell) + _HEIGHT
        if cell is not end:
            points.append((x, y))
    path = require("matplotlib.path").Path
    codes = [path.MOVETO, *[*[path.CURVE4] * 3, path.LINETO] * len(passed), *[path.CURVE4] * 3]
    drawn = require("matplotlib.patches").FancyArrowPatch(
        path=path(points, codes),
        arrowstyle="-|>",
        mutation_scale=8 * scale,
        linewidth=0.9 * scale,
        color=_LINE,
        shrinkA=0,
        shrinkB=0,
        zorder=1,
    )
    ax.add_patch(drawn)


def _draw_box(ax: Axes, box: Box, lines: Sequence[tuple[str, float]], cell: _Cell, scale: float) -> None:
    """A box with two lines of text, in a thick frame for an output."""
    kind = "input" if not box.parameters else "other" if box.parameters == "0" else "parameters"
    patch = require("matplotlib.patches").FancyBboxPatch(
        (cell.x - cell.width / 2, _top(cell)),
        cell.width,
        _HEIGHT,
        boxstyle="round,pad=0,rounding_size=5",
        facecolor=_FILLS[kind],
        edgecolor=_LINE,
        linewidth=(1.8 if box.is_output else 0.8) * scale,
        zorder=2,
    )
    ax.add_patch(patch)
    for (text, size), at in zip(lines, (0.34, 0.72), strict=True):
        ax.text(
            cell.x,
            _top(cell) + at * _HEIGHT,
            text,
            fontsize=size * scale,
            ha="center",
            va="center",
            zorder=3,
        )
