"""What things may be called."""

from __future__ import annotations

import re
from collections.abc import Iterable

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


class TakenNames(set[str]):
    """Names that are in use; they only become more."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        super().__init__(names)
        self._next: dict[str, int] = {}  # the first number that may be free, of the names that were wanted

    def free(self, wanted: str) -> str:
        """`wanted`, or the first of wanted_2, wanted_3, ... that is not in use."""
        if wanted not in self:
            return wanted
        number = self._next.get(wanted, 2)
        while f"{wanted}_{number}" in self:
            number += 1
        self._next[wanted] = number
        return f"{wanted}_{number}"
