"""The graph that a model is described with: symbolic values, the layers that make them, and what a layer asks
of the store that holds its parameters. No numbers are here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from . import _core
from ._errors import check_flag, check_size, described
from ._names import check_name
from .initializers import Initializer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Input", "Layer", "Value"]

# The classes of layers by the kind that files name, as classes are defined.
LAYER_KINDS: dict[str, type[Layer]] = {}

_creation_order = itertools.count()


# Values -------------------------------------------------------------------------------------------------


class Value:
    """A table of numbers (B, features) that a model will compute: an input, or a layer applied to others.

    Values hold no numbers. Layers are called on them, `+`, `-` and `*` join two of one width, and a Model
    is made from the first and the last of them.

    >>> import nncore as nc
    >>> x = nc.Input(4)
    >>> hidden = nc.Tanh()(nc.Dense(4, 4)(x))
    >>> (x + hidden).features
    4
    """

    def __init__(
        self,
        layer: Layer | None,
        inputs: Sequence[Value],
        features: int,
        *,
        call: int | None = None,
        output: int = 0,
    ) -> None:
        self.layer = layer  # None: an input
        self.inputs = tuple(inputs)
        self.features = features
        self.is_integer = False  # of an input
        self.name: str | None = None  # of an input that the user named
        self.order = next(_creation_order)
        self.call = self.order if call is None else call  # the outputs of one call share its number
        self.output = output  # which output of the call

    def __add__(self, other: Value) -> Value:
        return Add()(self, other) if isinstance(other, Value) else NotImplemented

    def __sub__(self, other: Value) -> Value:
        return Subtract()(self, other) if isinstance(other, Value) else NotImplemented

    def __mul__(self, other: Value) -> Value:
        return Multiply()(self, other) if isinstance(other, Value) else NotImplemented

    def __repr__(self) -> str:
        made_by = "Input" if self.layer is None else repr(self.layer).partition("\n")[0]
        return f"<Value of {self.features} features from {made_by}>"


def Input(
    features: int, *, name: str | None = None, is_integer: bool = False
) -> Value:  # stands where a layer would
    """An input of a model: x of shape (B, features).

    `name` is the key under which a model of several inputs finds it in a dict. `is_integer`: x holds
    integers, as an Embedding reads. Raises ValueError for features < 1 or an unusable name.

    >>> import nncore as nc
    >>> x = nc.Input(2)
    >>> shared = nc.Dense(2, 2)
    >>> model = nc.Model(x, shared(shared(x)))
    """
    value = Value(None, (), check_size(features, "features"))
    value.name = check_name(name)
    value.is_integer = check_flag(is_integer, "is_integer")
    return value


def as_values(given: Value | Sequence[Value], name: str) -> tuple[Value, ...]:
    """One value, or several different ones, as a tuple; TypeError for anything else, ValueError for none."""
    values = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    for value in values:
        if not isinstance(value, Value):
            raise TypeError(
                f"{name} must be symbolic values, made by nc.Input or by calling a layer; "
                f"got {described(value)}"
            )
    if not values:
        raise ValueError(f"{name} must be one value or more; got none")
    if len(set(values)) != len(values):
        raise ValueError(f"{name} must be different values; got one of them twice")
    return values


def trace(inputs: tuple[Value, ...], outputs: Sequence[Value]) -> list[Value]:
    """All values between inputs and outputs: the inputs as given, then the others as they were created,
    which is an order in which every value follows those that it reads.
    """
    for value in inputs:
        if value.layer is not None:
            raise ValueError(f"inputs must be values that nc.Input made; got {value!r}")
    found = set(_ancestors(outputs))
    strangers = [value for value in found - set(inputs) if value.layer is None]
    if strangers:
        which = ", ".join(repr(value.name or value) for value in sorted(strangers, key=_order))
        raise ValueError(f"outputs must depend on the model's inputs alone; got one that reads {which}")
    return [*inputs, *sorted(found - set(inputs), key=_order)]


def expand(values: Iterable[Value]) -> dict[Value, Value]:
    """For each of some traced values the value of the same numbers in a graph without nested models."""
    values = list(values)
    if all(value.layer is None or type(value.layer).expand is Layer.expand for value in values):
        return {value: value for value in values}
    found: dict[Value, Value] = {}
    calls: dict[int, list[Value]] = {}
    for value in values:
        if value.layer is None:
            found[value] = value
            continue
        if value.call not in calls:
            calls[value.call] = value.layer.expand([found[read] for read in value.inputs])
        found[value] = calls[value.call][value.output]
    return found


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


# Layers -------------------------------------------------------------------------------------------------


class ParameterSpec(NamedTuple):
    """One array of parameters that a layer asks its store for."""

    shape: tuple[int, ...]
    initializer: Initializer
    weight_decay_multiplier: float = 0.0  # 1 for weights, 0 for biases
    layout: str = "columns"  # or "rows": what the core keeps together


class Store(Protocol):
    """What a layer asks of the store that holds its parameters."""

    def view(self, layer: Layer, key: str, *, gradient: bool) -> NDArray[Any]:
        """A writable view of one array of the layer, or of its gradient."""

    def trainable_changes(self, layer: Layer, trainable: bool) -> list[_core._Change]:
        """What tells whether optimizers change the arrays of the layer."""

    def changing(self) -> AbstractContextManager[Any]:
        """For `with`: RuntimeError if another call uses the store."""


class Layer:
    """An operation of a model. Called on symbolic values, it gives one.

    A layer may be called several times, within one model or in several: its parameters are the same
    everywhere, and their gradients add. It gets them when the first model with it is built; from then on
    `weight`, `bias` and their gradients are writable views of that model's store.
    """

    kind: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()  # the arguments that describe it in a file, beside its name
    in_features: int | None = None  # the width of its one input, where the layer knows it
    sources: tuple[Layer, ...] = ()  # other layers whose parameters it reads
    names: Mapping[Layer, str] = MappingProxyType({})  # of the layers within it

    def __init__(self, *, name: str | None = None) -> None:
        self.name = check_name(name)
        self._trainable = True
        self._store: Store | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" not in vars(cls):
            return
        known = LAYER_KINDS.setdefault(cls.kind, cls)
        if known.__qualname__ != cls.__qualname__:
            raise TypeError(f"kind must be one that no layer has; got {cls.kind!r}, of {known.__name__}")
        LAYER_KINDS[cls.kind] = cls  # a class that was defined again, as notebooks do

    def __call__(self, *inputs: Value) -> Value:
        """The symbolic value of this layer applied to others; ValueError where widths do not fit."""
        return Value(self, inputs, self.output_features(self.widths(inputs)))

    def widths(self, inputs: Sequence[Value]) -> list[int]:
        """The widths of symbolic values; TypeError for anything else."""
        for value in inputs:
            if not isinstance(value, Value):
                raise TypeError(
                    f"inputs of {type(self).__name__} must be symbolic values (nc.Input); "
                    f"got {described(value)}: to compute with arrays, build a model and call predict"
                )
        return [value.features for value in inputs]

    def output_features(self, widths: Sequence[int]) -> int:
        """The width of the output for inputs of these widths; ValueError where they do not fit."""
        raise NotImplementedError

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The parameters of its own, by the name of each, in the order in which they are stored."""
        return {}

    def state_specs(self) -> dict[str, ParameterSpec]:
        """Numbers that it keeps without learning them (running statistics), by the name of each, in order."""
        return {}

    @property
    def has_arrays(self) -> bool:
        """Whether a store holds something for it."""
        return bool(self.parameter_specs() or self.state_specs())

    def attributes(self) -> dict[str, bool | int | float | str]:
        """What the core is told of its node, beside the kind, what the node reads and its parameters."""
        return {}

    def node(self, name: str, inputs: list[int], places: Mapping[Layer, tuple[int, int]]) -> _core.Node:
        """Its node in the core's graph. `places` tells where each layer's parameters and state start."""
        first, first_state = places.get(self, (0, 0))
        segments = [first + i for i in range(len(self.parameter_specs()))]
        state = [first_state + i for i in range(len(self.state_specs()))]
        return _core.Node.make(self.kind, name, inputs, segments, state, self.attributes())

    def tangent(self, value: Value, tangents: Sequence[Value | None]) -> Value:
        """The tangent of `value`, which this layer made, from those of the values that it read. None stands
        for 0; at least one is something else. NotImplementedError for layers that have none.
        """
        raise NotImplementedError(f"{self!r} has no tangent")

    def expand(self, inputs: Sequence[Value]) -> list[Value]:
        """Its outputs as values of layers that have nodes in the core's graph: here its own."""
        return [self(*inputs)]

    def describe(self, names: Mapping[Layer, str]) -> dict[str, Any]:
        """The options that would make it again, as plain numbers and strings; `names` has those of all layers
        that it refers to.
        """
        return {option: getattr(self, option) for option in self.options}

    @classmethod
    def referred(cls, options: Mapping[str, Any]) -> list[str]:
        """The names in such options of the layers that must be made before."""
        return []

    @classmethod
    def from_options(cls, options: Mapping[str, Any], layers: Mapping[str, Layer], name: str) -> Layer:
        """The layer that such options describe; `layers` has those that it refers to."""
        return cls(**options, name=name)

    @property
    def store(self) -> Store | None:
        """The store that holds its parameters; None before the first model with it is built."""
        return self._store

    @property
    def trainable(self) -> bool:
        """Whether optimizers change its parameters. Setting it works at any time."""
        return self._trainable

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        _core.call_together(self.trainable_changes(check_flag(trainable, "trainable")))

    def trainable_changes(self, trainable: bool) -> list[_core._Change]:
        """What sets it, for `_core.call_together`."""
        arrays = [] if self._store is None else self._store.trainable_changes(self, trainable)
        return [*arrays, partial(setattr, self, "_trainable", trainable)]

    def bind(self, store: Store) -> None:
        """Tells it which store holds its parameters."""
        self._store = store

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


# What + - * need ----------------------------------------------------------------------------------------


class Join(Layer):
    """What joins several values of one width, element by element."""

    def output_features(self, widths: Sequence[int]) -> int:
        """The common width of at least two inputs."""
        check_several(self, widths)
        if len(set(widths)) > 1:
            raise ValueError(f"inputs of {self!r} must have one width; got {' and '.join(map(str, widths))}")
        return widths[0]


class Add(Join):
    """The sum of two or more values of one width; `a + b` is short for Add()(a, b)."""

    kind = "add"

    def tangent(self, value: Value, tangents: Sequence[Value | None]) -> Value:
        """The sum of the tangents."""
        moving = [tangent for tangent in tangents if tangent is not None]
        return moving[0] if len(moving) == 1 else Add()(*moving)


class JoinTwo(Join):
    """What joins two values of one width, element by element."""

    def output_features(self, widths: Sequence[int]) -> int:
        """The common width of two inputs."""
        if len(widths) != 2:
            raise ValueError(f"inputs of {self!r} must be two values; got {len(widths)}")
        return super().output_features(widths)


class Subtract(JoinTwo):
    """The difference of two values of one width; `a - b` is short for Subtract()(a, b)."""

    kind = "subtract"

    def tangent(self, value: Value, tangents: Sequence[Value | None]) -> Value:
        """The difference of the tangents."""
        first, second = tangents
        if first is not None and second is not None:
            return Subtract()(first, second)
        if first is not None:
            return first
        assert second is not None
        return Subtract()(second, Add()(second, second))  # -second, exactly


class Multiply(JoinTwo):
    """The elementwise product of two values of one width; `a * b` is short for Multiply()(a, b)."""

    kind = "multiply"

    def tangent(self, value: Value, tangents: Sequence[Value | None]) -> Value:
        """The product rule."""
        first, second = value.inputs
        products = [
            Multiply()(tangent, other)
            for tangent, other in zip(tangents, (second, first), strict=True)
            if tangent is not None
        ]
        return products[0] if len(products) == 1 else Add()(*products)


def check_several(layer: Layer, widths: Sequence[int]) -> None:
    """ValueError for fewer than two inputs."""
    if len(widths) < 2:
        raise ValueError(f"inputs of {layer!r} must be two values or more; got {len(widths)}")
