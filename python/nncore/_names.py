"""What things may be called."""

from __future__ import annotations

import re

_ALLOWED = re.compile(r"[A-Za-z0-9_-]+")
_RESERVED = ("optimizer", "trainer")  # they begin the keys of a checkpoint


def check_name(name: str | None) -> str | None:
    """A user's name for a layer or an input, or None.

    Letters, digits, _ and - are allowed, as names become keys of files: `{name}.weight`.
    """
    if name is None:
        return None
    if not isinstance(name, str):
        raise TypeError(f"name must be a string; got {type(name).__name__}")
    if not _ALLOWED.fullmatch(name):
        raise ValueError(f"name must be made of letters, digits, _ and -; got {name!r}")
    if name in _RESERVED:
        raise ValueError(f"name must be none that files use for themselves; got {name!r}")
    return name


def free_name(wanted: str, taken: set[str]) -> str:
    """`wanted`, or the first of wanted_2, wanted_3, ... that is not taken."""
    candidates = (wanted, *(f"{wanted}_{i}" for i in range(2, len(taken) + 3)))
    return next(name for name in candidates if name not in taken)
