"""Symbolic values: what a layer returns when it is called, and what a Model is built from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .names import check_name

if TYPE_CHECKING:
    from .layers import Layer

_creation_order = itertools.count()


class Value:
    """A table of numbers (B, features) that a model will compute: an input, or a layer applied to others.

    Values hold no numbers. Layers are called on them, `+` and `*` join two of one width, and a Model is
    made from the first and the last of them.

    >>> import nncore as nc
    >>> x = nc.Input(4)
    >>> hidden = nc.Tanh()(nc.Dense(4, 4)(x))
    >>> (x + hidden).features
    4
    """

    def __init__(self, layer: Layer | None, inputs: Sequence[Value], features: int) -> None:
        self.layer = layer  # None: an input
        self.inputs = tuple(inputs)
        self.features = features
        self.name: str | None = None  # of an input that the user named
        self.order = next(_creation_order)

    def __add__(self, other: Value) -> Value:
        from .layers import Add

        return Add()(self, other) if isinstance(other, Value) else NotImplemented

    def __mul__(self, other: Value) -> Value:
        from .layers import Multiply

        return Multiply()(self, other) if isinstance(other, Value) else NotImplemented

    def __repr__(self) -> str:
        made_by = "Input" if self.layer is None else repr(self.layer)
        return f"<Value of {self.features} features from {made_by}>"


def Input(features: int, *, name: str | None = None) -> Value:  # stands where a layer would
    """An input of a model: x of shape (B, features).

    `name` is the key under which a model of several inputs finds it in a dict.
    Raises ValueError for features < 1 or an unusable name.

    >>> import nncore as nc
    >>> x = nc.Input(2)
    >>> shared = nc.Dense(2, 2)
    >>> model = nc.Model(x, shared(shared(x)))
    """
    value = Value(None, (), check_size(features, "features"))
    value.name = check_name(name)
    return value


def as_values(given: Value | Sequence[Value], name: str) -> tuple[Value, ...]:
    """One value, or several different ones, as a tuple; TypeError for anything else, ValueError for none."""
    values = tuple(given) if isinstance(given, Sequence) else (given,)
    for value in values:
        if not isinstance(value, Value):
            raise TypeError(
                f"{name} must be symbolic values, made by nc.Input or by calling a layer; "
                f"given {type(value).__name__}"
            )
    if not values:
        raise ValueError(f"{name} is empty; a model needs at least one")
    if len(set(values)) != len(values):
        raise ValueError(f"{name} names one value twice")
    return values


def trace(inputs: tuple[Value, ...], outputs: tuple[Value, ...]) -> list[Value]:
    """All values between inputs and outputs: the inputs as given, then the others as they were created,
    which is an order in which every value follows those that it reads.
    """
    for value in inputs:
        if value.layer is not None:
            raise ValueError(f"inputs of a model are made by nc.Input; given {value!r}")
    found = set(_ancestors(outputs))
    strangers = [value for value in found - set(inputs) if value.layer is None]
    if strangers:
        which = ", ".join(repr(value.name or value) for value in sorted(strangers, key=_order))
        raise ValueError(f"the outputs depend on {which}, which is not among the model's inputs")
    return [*inputs, *sorted(found - set(inputs), key=_order)]


def check_size(given: int, name: str) -> int:
    """A count of features: an integer of at least 1."""
    try:
        size = given.__index__()
    except AttributeError:
        raise TypeError(f"{name} must be an integer; given {type(given).__name__}") from None
    if size < 1:
        raise ValueError(f"{name} must be at least 1; given {size}")
    return size


def _order(value: Value) -> int:
    return value.order


def _ancestors(outputs: Sequence[Value]) -> Iterator[Value]:
    seen: set[Value] = set()
    waiting = list(outputs)
    while waiting:
        value = waiting.pop()
        if value not in seen:
            seen.add(value)
            waiting.extend(value.inputs)
            yield value
