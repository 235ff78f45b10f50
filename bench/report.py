"""Results as tables: one row per case, with the ratio of the best peer's time to nncore's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nncore._cli.workloads import WORKLOADS

from .peers import OURS, PEERS

Results = Sequence[Mapping[str, Any]]


class Row(NamedTuple):
    """One case, and the time of every peer."""

    mode: str
    label: str
    threads: int
    us: dict[str, float]  # by peer
    variants: dict[str, Mapping[str, str]]  # of peers that departed from the case
    probes: dict[str, float]  # GFLOP/s or GB/s
    flops: int  # 0 if unknown

    @property
    def best_peer(self) -> str | None:
        """The fastest peer that did the same work."""
        rivals = {peer: us for peer, us in self.us.items() if peer not in OURS and peer not in self.variants}
        return min(rivals, key=rivals.__getitem__) if rivals else None

    @property
    def ratio(self) -> float | None:
        """The best peer's time divided by nncore's: above 1 if nncore is faster."""
        if self.best_peer is None or "nncore" not in self.us:
            return None
        return self.us[self.best_peer] / self.us["nncore"]

    @property
    def share(self) -> float | None:
        """nncore's rate as a fraction of the machine's fused multiply-add rate."""
        if not self.flops or "fma" not in self.probes or "nncore" not in self.us:
            return None
        return self.flops / self.us["nncore"] / 1e3 / self.probes["fma"]


def flops(case: Mapping[str, Any]) -> int:
    """Flops of a call's matrix products, or 0 without any."""
    if case.get("function") in ("forward", "grad_weight", "grad_x"):
        return 2 * math.prod(case["shape"])
    if "workload" not in case:
        return 0
    workload = WORKLOADS[case["workload"]]
    return workload.predict_flops(case["rows"]) if "rows" in case else workload.step_flops


def label(case: Mapping[str, Any]) -> str:
    """A short name of a case: "tiny 64", "forward 32x1x16"."""
    return " ".join("x".join(map(str, v)) if isinstance(v, list) else str(v) for v in case.values())


def make_rows(results: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The results grouped by case, in order."""
    rows: dict[tuple[str, str, int], Row] = {}
    for result in results:
        key = result["mode"], label(result["case"]), result["threads"]
        row = rows.setdefault(key, Row(*key, {}, {}, {}, flops(result["case"])))
        peer = result["peer"]
        if peer.startswith("probe "):
            row.probes[peer.removeprefix("probe ")] = 1e-3 / result["us"]
            continue
        row.us[peer] = result["us"]
        if result["variant"]:
            row.variants[peer] = result["variant"]
    return list(rows.values())


def ratios(results: Results) -> dict[str, float]:
    """The ratio of each case that has one."""
    return {
        f"{row.mode}: {row.label}, {row.threads} thread{'s' * (row.threads > 1)}": row.ratio
        for row in make_rows(results)
        if row.ratio is not None
    }


def ratio_table(results: Results, markdown: bool) -> str:
    """A table with one column for each peer that has a result."""
    rows = make_rows(results)
    peers = [peer for peer in PEERS if any(peer in row.us for row in rows)]
    lines = [
        [
            row.label,
            *(figure(row.us.get(peer)) + "*" * (peer in row.variants) for peer in peers),
            row.best_peer or "",
            number(row.ratio, ".2f"),
            number(row.share, ".0%"),
        ]
        for row in rows
    ]
    notes = sorted(
        {f"{peer}: {', '.join(row.variants[peer].values())}" for row in rows for peer in row.variants}
    )
    note = f"\n\n\\* different work, not counted as best peer ({'; '.join(notes)})" if notes else ""
    return layout(["", *peers, "best peer", "ratio", "% of FMA"], lines, markdown) + note


def threads_table(results: Results, markdown: bool) -> str:
    """A table of nncore's speedup beside the probe's, and the best peer on two threads."""
    rows = {(row.label, row.threads): row for row in make_rows(results)}
    lines = []
    for name in dict.fromkeys(name for name, _ in rows):
        one, two = rows[name, 1], rows[name, 2]
        ours = one.us["nncore"] / two.us["nncore"]
        probe = two.probes["fma"] / one.probes["fma"] if "fma" in one.probes and "fma" in two.probes else None
        best = two.best_peer
        lines.append(
            [
                name,
                figure(one.us["nncore"]),
                figure(two.us["nncore"]),
                f"{ours:.2f}",
                number(probe, ".2f"),
                number(ours / probe if probe else None, ".2f"),
                best or "",
                figure(two.us[best]) if best else "-",
                number(two.ratio, ".2f"),
            ]
        )
    head = [
        "",
        "1 thread",
        "2 threads",
        "gain",
        "probe's gain",
        "of it",
        "best peer",
        "on 2 threads",
        "ratio",
    ]
    return layout(head, lines, markdown)


def growth_table(results: Results, markdown: bool) -> str:
    """A table of the time per sample, and of the memory in addition to the data."""
    lines = [
        [
            f"{result['case']['samples']:,}",
            f"{result['us']:.3f}",
            f"{result['us'] / results[0]['us']:.2f}",
            f"{result['before'] / 1e6:,.0f}",
            f"{result['added'] / 1e6:,.1f}",
        ]
        for result in results
    ]
    head = ["samples", "µs a sample", "of the first", "MB before training", "MB added by it"]
    return layout(head, lines, markdown)


def import_table(results: Results, markdown: bool) -> str:
    """A table of import times beyond the interpreter's start, and of sizes with all requirements."""
    lines = [[r["peer"], f"{r['us'] / 1e3:.0f}", f"{r['bytes'] / 1e6:.0f}"] for r in results]
    return layout(["", "import, ms", "installed, MB"], lines, markdown)


def layout(head: Sequence[str], lines: Sequence[Sequence[str]], markdown: bool) -> str:
    """A table whose first column is aligned left and whose other columns are aligned right."""
    if markdown:
        rule = ["---", *["---:"] * (len(head) - 1)]
        return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *lines)
    )


def figure(us: float | None) -> str:
    """A time with three digits, or with all its integer digits."""
    if us is None:
        return "-"
    return f"{us:,.0f}" if us >= 99.95 else f"{us:.1f}" if us >= 9.995 else f"{us:.2f}"


def number(value: float | None, form: str) -> str:
    """A formatted number, or an empty string for None."""
    return "" if value is None else format(value, form)
