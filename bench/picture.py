"""The roofline: what the machine allows at each intensity, and where every workload's training step is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nncore._cli.workloads import GRID

from .report import Row, make_rows

OURS, PEER, ROOF = "#0b5fa5", "#d1660f", "#555555"
SIDES = (  # of a point, and how text there is aligned
    ((0, 1), {"ha": "center", "va": "bottom"}),
    ((1, 0), {"ha": "left", "va": "center"}),
    ((-1, 0), {"ha": "right", "va": "center"}),
    ((0, -1), {"ha": "center", "va": "top"}),
)
DISTANCES = (8, 11, 17, 28)  # of text from its point, in points
MARKER, MARGIN = 12, 1.5  # the width that one takes, and the space around a text, in points


def draw(report: dict[str, Any], path: Path) -> None:
    """The mode epoch; needs matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in make_rows(report["results"]) if row.mode == "epoch"]
    if not rows:
        raise SystemExit("the picture needs the mode epoch")
    probes = {name: float(np.median([row.probes[name] for row in rows])) for name in rows[0].probes}
    intensities = [GRID[row.label].step_flops / GRID[row.label].step_bytes for row in rows]
    figure = Figure(figsize=(9, 6))
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(min(intensities) / 2, max(intensities) * 2),
        xlabel="flops of the products, per byte that a step must move",
        ylabel="GFLOP/s",
        title=f"Training steps in each library's own loop, {rows[0].threads} thread",
    )
    points = _draw_points(axes, rows, intensities)
    heights = [y for pair in points for _, y in pair]
    axes.set_ylim(min(heights) / 1.5, max(probes.get("fma", 0.0), *heights) * 1.3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.grid(which="major", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.canvas.draw()  # from here on it is known where everything is
    room = Room(axes)
    for pair in points:
        room.take(pair, markers=True)
    if probes:  # else there was no compiler for them
        _draw_roof(axes, probes, room)
    for row, pair in zip(rows, points, strict=True):
        room.write(row.label, _places_beside(pair), fontsize=9)
    figure.savefig(path, dpi=130)


class Room:
    """What is where on the axes, so that text avoids it."""

    def __init__(self, axes: Any) -> None:
        self._axes = axes
        self._scale = axes.figure.dpi / 72  # pixels a point
        self._taken = [self._outline(axes.get_legend().get_window_extent())]

    def take(self, points: Sequence[tuple[float, float]], *, markers: bool = False) -> None:
        """The line through points, and their markers."""
        pixels = self._axes.transData.transform(points)
        self._taken.append(_outline_of(pixels))
        if markers:
            half = self._scale * MARKER / 2
            corners = half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)])
            self._taken += [_outline_of(pixel + corners) for pixel in pixels]

    def write(self, text: str, places: Iterable[dict[str, Any]], **style: Any) -> None:
        """Text at the first place where it covers nothing, or else at that where it covers the least. A place
        is what `annotate` takes, with a rotation about the point.
        """
        found = None
        for place in places:
            note = self._axes.annotate(
                text, **place, textcoords="offset points", rotation_mode="anchor", **style
            )
            outline = self._outline_of_text(note, place.get("rotation", 0.0))
            covered = sum(outline.intersects_path(other, filled=True) for other in self._taken)
            covered += 10 * (not self._is_inside(outline))
            if found is not None and covered >= found[0]:
                note.remove()
                continue
            if found is not None:
                found[1].remove()
            found = covered, note, outline
            if not covered:
                break
        if found is not None:
            self._taken.append(found[2])

    def _outline_of_text(self, note: Any, rotation: float) -> Any:
        """The box of a text, turned as the text is."""
        note.set_rotation(0)
        box = note.get_window_extent(self._axes.figure.canvas.get_renderer())
        outline = self._outline(box.padded(self._scale * MARGIN))
        note.set_rotation(rotation)
        turn = np.radians(rotation)
        matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        anchor = self._axes.transData.transform(note.xy) + self._scale * np.array(note.get_position())
        return _outline_of((outline.vertices - anchor) @ matrix + anchor)

    def _is_inside(self, outline: Any) -> bool:
        """Whether it is within the axes."""
        return bool(self._axes.bbox.padded(1).count_contains(outline.vertices) == len(outline.vertices))

    @staticmethod
    def _outline(box: Any) -> Any:
        return _outline_of(
            [(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1), (box.x0, box.y0)]
        )


def _outline_of(points: Any) -> Any:
    from matplotlib.path import Path as Outline

    return Outline(points)


def _draw_points(
    axes: Any, rows: Sequence[Row], intensities: Sequence[float]
) -> list[list[tuple[float, float]]]:
    """nncore and its best peer at each intensity; the points of each, nncore's first."""
    points = []
    for row, x in zip(rows, intensities, strict=True):
        ours = row.flops / row.us["nncore"] / 1e3
        theirs = ours * (1 / row.ratio if row.ratio else 1)
        axes.plot([x, x], [ours, theirs], "-", color="#bbbbbb", linewidth=1, zorder=1)
        (circle,) = axes.plot(x, ours, "o", color=OURS, markersize=8, zorder=3)
        (diamond,) = axes.plot(x, theirs, "D", color=PEER, markersize=5, zorder=2, visible=bool(row.ratio))
        points.append([(x, ours), (x, theirs)])
    axes.legend([circle, diamond], ["nncore", "best peer"], frameon=False, loc="lower right")
    return points


def _draw_roof(axes: Any, probes: dict[str, float], room: Room) -> None:
    """The lines, and along each its name at a place where it covers nothing."""
    (left, right), peak = axes.get_xlim(), probes["fma"]
    lines = [([(left, peak), (right, peak)], "-", f"fused multiply-adds, {peak:.0f} GFLOP/s")]
    for name, source in (("cache", "L2"), ("memory", "memory")):
        speed = probes[name]
        if peak / speed <= left:
            continue  # the slope is left of what the picture shows
        ends = [(left, left * speed), (peak / speed, peak)]
        lines.append((ends, "--", f"reads from {source}, {speed:.0f} GB/s"))
    for ends, dashes, _ in lines:
        axes.plot(*np.transpose(ends), dashes, color=ROOF, linewidth=1.5 if dashes == "-" else 1, zorder=0)
        room.take(ends)
    for ends, _, text in lines:
        room.write(text, _places_along(axes, ends), fontsize=8, color=ROOF)


def _places_along(axes: Any, ends: Sequence[tuple[float, float]]) -> Iterable[dict[str, Any]]:
    """Places above and below a line of the logarithmic axes, turned as the line is, and then level ones."""
    (x0, y0), (x1, y1) = axes.transData.transform(ends)
    angle = float(np.degrees(np.arctan2(y1 - y0, x1 - x0)))
    above = 4 * np.array([-np.sin(np.radians(angle)), np.cos(np.radians(angle))])
    for offset, style in (
        (above, {"rotation": angle}),
        (-above, {"rotation": angle, "va": "top"}),
        ((6, -4), {"va": "top"}),
    ):
        for part in np.arange(0.02, 0.95, 0.03):
            at = axes.transData.inverted().transform((x0 + part * (x1 - x0), y0 + part * (y1 - y0)))
            yield {"xy": tuple(at), "xytext": tuple(offset), **style}


def _places_beside(points: Sequence[tuple[float, float]]) -> Iterable[dict[str, Any]]:
    """Places around each of two points, the nearest first."""
    for distance in DISTANCES:
        for point in points:
            for (dx, dy), alignment in SIDES:
                yield {"xy": point, "xytext": (distance * dx, distance * dy), **alignment}
