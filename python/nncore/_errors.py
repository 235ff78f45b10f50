"""How mistakes are worded: *`argument` must be X; got Y*; and checks that several modules make."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def unknown_name(argument: str, name: object, allowed: Iterable[str]) -> ValueError:
    """The error for a name that a table lacks, with the nearest name that it has.

    >>> unknown_name("activation", "rely", ["relu", "tanh"])
    ValueError("activation must be one of relu, tanh; got 'rely' (did you mean 'relu'?)")
    """
    import difflib  # costs more to import than the rest of this module, and only mistakes need it

    names = list(allowed)
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return ValueError(f"{argument} must be one of {', '.join(names)}; got {name!r}{hint}")


def entry(argument: str, name: str, entries: Mapping[str, T]) -> T:
    """What a table has under a name; ValueError, with the nearest name, where it has nothing."""
    if name not in entries:
        raise unknown_name(argument, name, entries)
    return entries[name]


def check_size(given: int, name: str, *, least: int = 1) -> int:
    """A count: an integer of at least 1, or of at least another."""
    size = _as_integer(given, name, "an integer")
    if size < least:
        raise ValueError(f"{name} must be at least {least}; got {size}")
    return size


def as_seed(given: int | None, name: str = "seed") -> int:
    """An integer in [0, 2^64); None draws one."""
    if given is None:
        return int.from_bytes(os.urandom(4), "little")
    seed = _as_integer(given, name, "an integer or None")
    if not 0 <= seed < 2**64:
        raise ValueError(f"{name} must be in [0, 2**64); got {seed}")
    return seed


def _as_integer(given: int, name: str, expected: str) -> int:
    try:
        return given.__index__()
    except AttributeError:
        raise TypeError(f"{name} must be {expected}; got {type(given).__name__}") from None
