"""The wording of errors, *`argument` must be X; got Y*, and the checks that several modules share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np

T = TypeVar("T")
_FLAGS = {0: False, 1: True}


def unknown_name(argument: str, name: object, allowed: Iterable[str], other: str = "") -> ValueError:
    """The error for a name that is not allowed. It suggests the closest name that is.

    `other` says what may be given instead of a name, such as "a function or ".

    >>> unknown_name("activation", "rely", ["relu", "tanh"])
    ValueError("activation must be one of relu, tanh; got 'rely' (did you mean 'relu'?)")
    """
    import difflib  # slow to import, and only errors need it

    names = list(allowed)
    close = difflib.get_close_matches(str(name).lower(), names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return ValueError(f"{argument} must be {other}one of {', '.join(names)}; got {name!r}{hint}")


def entry(argument: str, name: str, entries: Mapping[str, T]) -> T:
    """The entry with a name. Raises ValueError for an unknown name and TypeError if it is not a string."""
    if not isinstance(name, str):
        raise TypeError(f"{argument} must be a name; got {described(name)}")
    if name not in entries:
        raise unknown_name(argument, name, entries)
    return entries[name]


def check_size(given: int, name: str, *, least: int = 1) -> int:
    """A count: an integer of at least `least` and, as the core's integers have 64 bits, below 2^63."""
    size = _as_integer(given, name, "an integer")
    if size < least:
        raise ValueError(f"{name} must be at least {least}; got {size}")
    if size >= 2**63:
        raise ValueError(f"{name} must be below 2**63; got {size}")
    return size


def check_number(given: float, name: str) -> float:
    """A float, from a Python or NumPy number or any other object with `__float__`, but not from text."""
    if not isinstance(given, (str, bytes, bytearray, type)):
        try:
            return float(given)
        except OverflowError:
            raise ValueError(f"{name} must be a number that a float holds; got {given}") from None
        except (TypeError, ValueError):
            pass
    raise TypeError(f"{name} must be a number; got {described(given)}")


def check_flag(given: bool, name: str) -> bool:
    """A bool, from True or False (of Python or NumPy), 0 or 1."""
    try:
        return _FLAGS[given.item() if isinstance(given, np.bool_) else given.__index__()]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise TypeError(f"{name} must be True or False; got {described(given)}") from None


def check_list(given: Iterable[T], name: str, holding: str) -> list[T]:
    """The items of any iterable except text, as a list. `holding` says in messages what the items must be."""
    if not isinstance(given, (str, bytes, type)):
        try:
            return list(given)
        except TypeError:  # not iterable; a 0-d array raises only now
            pass
    raise TypeError(f"{name} must be a list of {holding}; got {described(given)}")


def check_path(given: str | os.PathLike[str]) -> None:
    """Raises TypeError for anything but a path, and ValueError for one that no file can have."""
    if not isinstance(given, (str, os.PathLike)) or isinstance(given, type):
        raise TypeError(f"path must be a string or an os.PathLike; got {described(given)}")
    try:
        has_null = b"\0" in os.fsencode(given)
    except UnicodeEncodeError:
        has_null = True
    if has_null:
        raise ValueError(f"path must be valid in the file system; got {os.fspath(given)!r}")


def check_is(given: object, kind: type, name: str) -> None:
    """Raises TypeError for anything but an instance of `kind`."""
    if not isinstance(given, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise TypeError(f"{name} must be {article} {kind.__name__}; got {described(given)}")


def check_subclass(instance: object, example: str) -> None:
    """Raises TypeError for a direct instance of a family's base class, which has no kind."""
    if not hasattr(instance, "kind"):
        base = type(instance).__name__
        raise TypeError(f"{base} must be one of its subclasses, such as {example}; got {base} itself")


def described(given: object) -> str:
    """A value of the wrong type as messages show it: None and text by value, anything else by type."""
    if given is None or isinstance(given, (str, bytes)):
        return repr(given)
    return f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__


def as_seed(given: int | None, name: str = "seed") -> int:
    """A seed: an integer in [0, 2^64). None draws one of 32 bits."""
    if given is None:
        return int.from_bytes(os.urandom(4), "little")
    seed = _as_integer(given, name, "an integer or None")
    if not 0 <= seed < 2**64:
        raise ValueError(f"{name} must be in [0, 2**64); got {seed}")
    return seed


def _as_integer(given: int, name: str, expected: str) -> int:
    try:
        return given.__index__()
    except (AttributeError, TypeError):  # classes and arrays have the method too, but it raises
        raise TypeError(f"{name} must be {expected}; got {described(given)}") from None
