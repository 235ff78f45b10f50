"""Names of layers and inputs: which are valid, and which are free."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ALLOWED = re.compile(r"[A-Za-z0-9_-]+")
_RESERVED = ("optimizer", "trainer")  # prefixes of a checkpoint's own keys


def check_name(name: str | None) -> str | None:
    """The name itself, after a check. None stands for no name.

    Letters, digits, _ and - are allowed: names become keys in files, such as "{name}.weight".
    """
    if name is None:
        return None
    if not isinstance(name, str):
        raise TypeError(f"name must be a string; got {type(name).__name__}")
    if not _ALLOWED.fullmatch(name):
        raise ValueError(f"name must consist of letters, digits, _ and -; got {name!r}")
    if name in _RESERVED:
        raise ValueError(f"name must not be one that files reserve; got {name!r}")
    return name


class TakenNames(set[str]):
    """The names in use. Names are added, never removed."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        super().__init__(names)
        self._next: dict[str, int] = {}  # by wanted name, the first number that may be free

    def free(self, wanted: str) -> str:
        """`wanted`, or the first of wanted_2, wanted_3, ... that is not in use."""
        if wanted not in self:
            return wanted
        number = self._next.get(wanted, 2)
        while f"{wanted}_{number}" in self:
            number += 1
        self._next[wanted] = number
        return f"{wanted}_{number}"
