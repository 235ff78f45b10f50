"""Whether a peer computes the same as the reference: NumPy in float64, from the same parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from nncore.workloads import GRID

from .peers.numpy_peer import reference

# By what fraction of their length two lists of numbers may differ. Changes are loose because the first steps of
# Adam turn gradients near zero, whose sign is a matter of rounding, into whole steps.
TOLERANCES = {"outputs": 1e-5, "losses": 1e-5, "changes": 0.05, "epoch loss": 1e-2}


def compare(
    mode: str, case: Mapping[str, Any], variant: Mapping[str, str], found: Mapping[str, Sequence[float]]
) -> str:
    """What differs by how much, or nothing."""
    if not found:
        return ""
    expected = _expected(mode, tuple(sorted(case.items())), tuple(sorted(variant.items())))
    for name, numbers in found.items():
        theirs = np.asarray(expected[name][: len(numbers)])  # a peer may tell the first losses only
        difference = float(np.linalg.norm(np.subtract(numbers, theirs)) / np.linalg.norm(theirs))
        if not difference <= TOLERANCES[name]:
            return f"{name} by {difference:.1e}, more than {TOLERANCES[name]:.0e}"
    return ""


@cache
def _expected(
    mode: str, case: tuple[tuple[str, Any], ...], variant: tuple[tuple[str, str], ...]
) -> dict[str, list[float]]:
    arguments = dict(case)
    workload = GRID[arguments.pop("workload")]._replace(**dict(variant))
    return reference(mode, workload, **arguments)
