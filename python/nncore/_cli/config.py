"""`python -m nncore config`: the build, and the machine it runs on."""

from __future__ import annotations

import sys

from .._core import show_config
from .installation import problem


def run() -> int:
    """Prints one line for each setting. Returns 1 if PyPI's unrelated package "nncore" is in the way."""
    for name, value in show_config().items():
        print(f"{name}: {', '.join(value) if isinstance(value, (list, tuple)) else value}")
    found = problem()
    if found is not None:
        print(f"\n{found}", file=sys.stderr)
    return int(found is not None)
