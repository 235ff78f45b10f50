"""Compares two runs by their ratios, because times depend on the machine and vary from hour to hour."""

from __future__ import annotations

from collections.abc import Mapping

ALLOWED = 0.10


def worse(now: Mapping[str, float], before: Mapping[str, float]) -> list[str]:
    """One line for each case of both runs whose ratio fell by more than 10 %, the worst first.

    >>> worse({"a": 0.8, "b": 0.95, "c": 2.0}, {"a": 1.0, "b": 1.0, "d": 1.0})
    ['a: 0.80 of 1.00 (-20 %)']
    """
    fallen = {case: now[case] / before[case] - 1 for case in now if case in before}
    return [
        f"{case}: {now[case]:.2f} of {before[case]:.2f} ({change:+.0%})".replace("%", " %")
        for case, change in sorted(fallen.items(), key=lambda item: item[1])
        if change < -ALLOWED
    ]
