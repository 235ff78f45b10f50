"""The roofline: what the machine allows at each intensity, and where every workload's training step is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nncore._cli.workloads import GRID

from .report import Row, make_rows

OURS, PEER, ROOF = "#0b5fa5", "#d1660f", "#555555"
PLACES = ((0, -11, "center", "top"), (9, 0, "left", "center"), (-9, 0, "right", "center"))
PLACES += ((0, 11, "center", "bottom"),)  # offsets in points from a point, and alignments


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
    highest = max(probes.get("fma", 0.0), *(higher[1] for _, higher in points))
    axes.set_ylim(min(lower[1] for lower, _ in points) / 1.5, highest * 1.3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.grid(which="major", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    if probes:  # else there was no compiler for them
        _draw_roof(axes, probes)
    _draw_labels(axes, rows, points)
    figure.savefig(path, dpi=130)


def _draw_points(
    axes: Any, rows: Sequence[Row], intensities: Sequence[float]
) -> list[list[tuple[float, float]]]:
    """nncore and its best peer at each intensity; the points of each, the lower first."""
    points = []
    for row, x in zip(rows, intensities, strict=True):
        ours = row.flops / row.us["nncore"] / 1e3
        theirs = ours * (1 / row.ratio if row.ratio else 1)
        axes.plot([x, x], [ours, theirs], "-", color="#bbbbbb", linewidth=1, zorder=1)
        (circle,) = axes.plot(x, ours, "o", color=OURS, markersize=8, zorder=3)
        (diamond,) = axes.plot(x, theirs, "D", color=PEER, markersize=5, zorder=2, visible=bool(row.ratio))
        points.append([(x, y) for y in sorted((ours, theirs))])
    axes.legend([circle, diamond], ["nncore", "best peer"], frameon=False, loc="lower right")
    return points


def _draw_roof(axes: Any, probes: dict[str, float]) -> None:
    (left, right), peak = axes.get_xlim(), probes["fma"]
    words = {"textcoords": "offset points", "xytext": (0, 4), "fontsize": 8, "color": ROOF}
    for name, source in (("cache", "L2"), ("memory", "memory")):
        speed = probes[name]
        axes.plot([left, peak / speed], [left * speed, peak], "--", color=ROOF, linewidth=1, zorder=0)
        x = peak / speed / 3.2
        (x0, y0), (x1, y1) = axes.transData.transform([(x, x * speed), (2 * x, 2 * x * speed)])
        axes.annotate(
            f"reads from {source}, {speed:.0f} GB/s",
            (x, x * speed),
            rotation=np.degrees(np.arctan2(y1 - y0, x1 - x0)),
            rotation_mode="anchor",
            **words,
        )
    axes.plot([left, right], [peak, peak], "-", color=ROOF, linewidth=1.5, zorder=0)
    axes.annotate(f"fused multiply-adds, {peak:.0f} GFLOP/s", (left * 1.1, peak), ha="left", **words)


def _draw_labels(axes: Any, rows: Sequence[Row], points: Sequence[list[tuple[float, float]]]) -> None:
    """Each below its points, or at the first place where it covers nothing else."""
    from matplotlib.transforms import Bbox

    canvas = axes.figure.canvas
    canvas.draw()
    centres = axes.transData.transform([point for pair in points for point in pair])
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in centres]
    for row, (lower, _) in zip(rows, points, strict=True):
        for dx, dy, across, along in PLACES:
            place = {"textcoords": "offset points", "ha": across, "va": along, "fontsize": 9}
            text = axes.annotate(row.label, lower, (dx, dy), **place)
            box = text.get_window_extent(canvas.get_renderer())
            if not any(box.overlaps(other) for other in taken) or (dx, dy) == PLACES[-1][:2]:
                taken.append(box)
                break
            text.remove()
