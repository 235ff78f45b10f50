"""The roofline: what the machine allows at each intensity, and where every workload's training step is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nncore.workloads import GRID

from .report import make_rows

OURS, PEER, ROOF = "#0b5fa5", "#d1660f", "#555555"


def draw(report: dict[str, Any], path: Path) -> None:
    """The mode epoch on one thread; needs matplotlib."""
    from matplotlib.figure import Figure

    rows = [row for row in make_rows(report["results"]) if row.mode == "epoch"]
    if not rows:
        raise SystemExit("the picture needs the mode epoch")
    probes = {name: float(np.median([row.probes[name] for row in rows])) for name in rows[0].probes}
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    intensities = [GRID[row.label].step_flops / GRID[row.label].step_bytes for row in rows]
    left, right = min(intensities) / 2, max(intensities) * 2
    _draw_roof(axes, probes, left, right)
    for row, intensity in zip(rows, intensities, strict=True):
        speeds = {peer: row.flops / us / 1e3 for peer, us in row.us.items() if peer not in row.variants}
        axes.plot(intensity, speeds["nncore"], "o", color=OURS, markersize=8, zorder=3)
        if row.best_peer:
            speed = speeds[row.best_peer]
            axes.plot([intensity] * 2, [speed, speeds["nncore"]], "-", color="#bbbbbb", linewidth=1, zorder=1)
            axes.plot(intensity, speed, "D", color=PEER, markersize=5, zorder=2)
        axes.annotate(
            row.label,
            (intensity, min(speeds["nncore"], speeds.get(row.best_peer or "nncore"))),
            xytext=(0, -9),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=9,
        )
    axes.plot([], [], "o", color=OURS, markersize=8, label="nncore")
    axes.plot([], [], "D", color=PEER, markersize=5, label="best peer")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(left, right),
        xlabel="flops of the products per byte that a step must move",
        ylabel="GFLOP/s",
        title=f"Training steps in each library's own loop, {rows[0].threads} thread",
    )
    axes.grid(which="major", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=130)


def _draw_roof(axes: Any, probes: dict[str, float], left: float, right: float) -> None:
    peak = probes["fma"]
    for name, words in (("cache", "reads from L2"), ("memory", "reads from memory")):
        ridge = peak / probes[name]
        axes.plot([left, ridge], [left * probes[name], peak], "--", color=ROOF, linewidth=1)
        at = left * 1.15
        axes.annotate(
            f"{words}, {probes[name]:.0f} GB/s",
            (at, at * probes[name]),
            xytext=(0, 4),
            textcoords="offset points",
            rotation=40,
            rotation_mode="anchor",
            fontsize=8,
            color=ROOF,
        )
    axes.plot([left, right], [peak, peak], "-", color=ROOF, linewidth=1.5)
    axes.annotate(
        f"fused multiply-adds, {peak:.0f} GFLOP/s",
        (right / 1.1, peak),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=ROOF,
    )
