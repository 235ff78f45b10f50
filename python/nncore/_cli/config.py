"""`python -m nncore config`: the build, and the machine it runs on."""

from __future__ import annotations

from .._core import show_config


def run() -> int:
    """Prints one line for each setting."""
    for name, value in show_config().items():
        print(f"{name}: {', '.join(value) if isinstance(value, (list, tuple)) else value}")
    return 0
