"""`python -m nncore config`: what this build is and runs on, and what is wrong with the installation."""

from __future__ import annotations

import sys

from .._core import show_config
from .installation import problem


def run() -> int:
    """Prints a line for each thing. Returns 1 where PyPI's unrelated package "nncore" is in the way."""
    for name, value in show_config().items():
        print(f"{name}: {', '.join(value) if isinstance(value, (list, tuple)) else value}")
    found = problem()
    if found is not None:
        print(f"\n{found}", file=sys.stderr)
    return int(found is not None)
