"""Results as tables: a row for every case, with the ratio of the best peer's time to nncore's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nncore.workloads import GRID

from .peers import PEERS

Result = Mapping[str, Any]


class Row(NamedTuple):
    """One case, and what every peer took for it."""

    mode: str
    label: str
    threads: int
    us: Mapping[str, float]  # by peer
    variants: Mapping[str, Mapping[str, str]]  # of peers that did something else
    probes: Mapping[str, float]  # GFLOP/s or GB/s
    flops: int  # 0: not known

    @property
    def best_peer(self) -> str | None:
        """The fastest of those that did the same."""
        rivals = {peer: us for peer, us in self.us.items() if peer != "nncore" and peer not in self.variants}
        return min(rivals, key=rivals.__getitem__) if rivals else None

    @property
    def ratio(self) -> float | None:
        """The best peer's time over nncore's: above 1, nncore is faster."""
        if self.best_peer is None or "nncore" not in self.us:
            return None
        return self.us[self.best_peer] / self.us["nncore"]

    @property
    def share(self) -> float | None:
        """nncore's part of the fused multiply-adds that the machine can do."""
        if not self.flops or "fma" not in self.probes or "nncore" not in self.us:
            return None
        return self.flops / self.us["nncore"] / 1e3 / self.probes["fma"]


def flops(case: Result) -> int:
    """Of the matrix products of a case."""
    if "workload" not in case:
        return 0
    workload = GRID[case["workload"]]
    return workload.predict_flops(case["rows"]) if "rows" in case else workload.step_flops


def make_rows(results: Iterable[Result]) -> list[Row]:
    """Results by case, in their order."""
    rows: dict[tuple[Any, ...], Row] = {}
    for result in results:
        case = result["case"]
        label = " x ".join(map(str, case.values()))
        key = (result["mode"], label, result["threads"])
        row = rows.setdefault(key, Row(*key, {}, {}, {}, flops(case)))
        peer = result["peer"]
        if peer.startswith("probe "):
            row.probes[peer.removeprefix("probe ")] = 1e-3 / result["us"]  # type: ignore[index]
            continue
        row.us[peer] = result["us"]  # type: ignore[index]
        if result["variant"]:
            row.variants[peer] = result["variant"]  # type: ignore[index]
    return list(rows.values())


def table(rows: Sequence[Row], markdown: bool) -> str:
    """One mode's rows, with a column for every peer that has a figure."""
    peers = [peer for peer in PEERS if any(peer in row.us for row in rows)]
    head = ["", *peers, "best peer", "ratio", "% of FMA"]
    lines = [
        [
            row.label,
            *(figure(row.us.get(peer)) + ("*" if peer in row.variants else "") for peer in peers),
            row.best_peer or "",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            "" if row.share is None else f"{row.share:.0%}",
        ]
        for row in rows
    ]
    if markdown:
        rule = ["---", *["---:"] * (len(head) - 1)]
        return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in (head, *lines)
    )


def figure(us: float | None) -> str:
    """Three digits, or more where they are whole."""
    if us is None:
        return "-"
    return f"{us:,.0f}" if us >= 99.95 else f"{us:.1f}" if us >= 9.995 else f"{us:.2f}"
