"""`python -m nncore config`: what this build is and runs on."""

from __future__ import annotations

from .._core import show_config


def run() -> int:
    """Prints a line for each thing."""
    for name, value in show_config().items():
        print(f"{name}: {', '.join(value) if isinstance(value, (list, tuple)) else value}")
    return 0
