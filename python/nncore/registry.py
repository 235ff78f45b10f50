"""Names: one table per kind of thing, a row per name.

The same names serve strings, functions, C++ and files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from .initializers import Initializer
    from .layers import Activation, Layer
    from .losses import Loss
    from .optimizers import Optimizer

T = TypeVar("T")
C = TypeVar("C", bound=type)


def unknown_name(kind: str, name: object, allowed: Iterable[str]) -> ValueError:
    """The error for a name that a table lacks, with the nearest name that it has.

    >>> unknown_name("activation", "rely", ["relu", "tanh"])
    ValueError("unknown activation 'rely'; did you mean 'relu'? (allowed: relu, tanh)")
    """
    import difflib  # costs more to import than the rest of this module, and only mistakes need it

    names = list(allowed)
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return ValueError(f"unknown {kind} {name!r}{hint} (allowed: {', '.join(names)})")


class Table(Generic[T]):
    """How things of one kind are made, by their names, in the order in which they were added."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._rows: dict[str, Callable[..., T]] = {}

    def row(self, name: str) -> Callable[[C], C]:
        """A class decorator that adds the class under `name` and sets its attribute `kind` to it."""

        def add_class(cls: C) -> C:
            cls.kind = name  # type: ignore[attr-defined]  # C is any class; those with rows have it
            self.add(name, cls)
            return cls

        return add_class

    def add(self, name: str, make: Callable[..., T]) -> None:
        """Adds a name for what a class makes with certain arguments."""
        self._rows[name] = make

    def __getitem__(self, name: str) -> Callable[..., T]:
        """What makes the thing of that name; ValueError, with the nearest name, where there is none."""
        if name not in self._rows:
            raise unknown_name(self.kind, name, self._rows)
        return self._rows[name]

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)


initializers: Table[Initializer] = Table("initializer")
activations: Table[Activation] = Table("activation")
layers: Table[Layer] = Table("layer")
losses: Table[Loss] = Table("loss")
optimizers: Table[Optimizer] = Table("optimizer")
