"""Checks a peer's results against a float64 NumPy reference with the same initial parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from nncore._cli.workloads import WORKLOADS

from . import functions, hidden
from .peers import numpy_peer

# Relative differences, in the 2-norm, that are allowed. Changes are loose because Adam's first steps turn
# near-zero gradients, whose sign depends on rounding, into full steps. An epoch's mean loss depends slightly
# on the order of its samples.
TOLERANCES = {"changes": 0.05, "epoch loss": 1e-2}
TOLERANCE = 1e-5  # everything else: the rounding of float32


def compare(
    mode: str, case: Mapping[str, Any], variant: Mapping[str, str], found: Mapping[str, Sequence[float]]
) -> str:
    """What differs and by how much, or an empty string."""
    if not found:
        return ""
    expected = _expected(mode, json.dumps(case), json.dumps(variant))
    for name, numbers in found.items():
        theirs = np.asarray(expected[name][: len(numbers)])  # a peer may report only the first losses
        difference = float(np.linalg.norm(np.subtract(numbers, theirs)) / np.linalg.norm(theirs))
        allowed = TOLERANCES.get(name, TOLERANCE)
        if not difference <= allowed:
            return f"{name} by {difference:.1e}, more than {allowed:.0e}"
    return ""


@cache
def _expected(mode: str, case: str, variant: str) -> dict[str, list[float]]:
    arguments = json.loads(case)
    if "function" in arguments:
        return functions.reference(arguments["function"], arguments["shape"])
    workload = WORKLOADS[arguments.pop("workload")]._replace(**json.loads(variant))
    if "hidden" in arguments:
        return hidden.first_loss(workload, **arguments)
    return numpy_peer.reference(mode, workload, **arguments)
