"""The graph that describes a model: symbolic values and the layers that compute them.

It holds no numbers; a layer's parameters are in a store, of which only the interface is here.
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

# The layer classes by kind, which is the name in files. Each class adds itself when it is defined.
LAYER_KINDS: dict[str, type[Layer]] = {}

_creation_order = itertools.count()


# Values -------------------------------------------------------------------------------------------------


class Value:
    """A symbolic array (B, features) of a model: an input, or the output of a layer. It holds no numbers.

    Calling a layer on values gives a new value, and so do `+`, `-` and `*` of two values of the same width.
    A Model is built from its input and output values.

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
        self.layer = layer  # None for an input
        self.inputs = tuple(inputs)
        self.features = features
        self.is_integer = False  # whether it is an input of integers
        self.name: str | None = None  # the user's name for an input
        self.order = next(_creation_order)
        self.call = self.order if call is None else call  # a number that the outputs of one call share
        self.output = output  # its index among the outputs of the call

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
) -> Value:  # capitalized like the layers
    """An input of a model: x of shape (B, features).

    `name` is its key where a model with several inputs is given a dict. Set `is_integer` if x holds integers,
    such as the indices that an Embedding reads. Raises ValueError for features < 1 or an invalid name.

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
    """One or several distinct values as a tuple.

    Raises TypeError for other objects, and ValueError for an empty list or a repeated value.
    """
    values = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    for value in values:
        if not isinstance(value, Value):
            raise TypeError(
                f"{name} must be symbolic values, made by nc.Input or by calling a layer; "
                f"got {described(value)}"
            )
    if not values:
        raise ValueError(f"{name} must be at least one value; got none")
    if len(set(values)) != len(values):
        raise ValueError(f"{name} must be distinct values; got one of them twice")
    return values


def trace(inputs: tuple[Value, ...], outputs: Sequence[Value]) -> list[Value]:
    """All values that the outputs depend on, in topological order: inputs first, then in creation order."""
    for value in inputs:
        if value.layer is not None:
            raise ValueError(f"inputs must be values made by nc.Input; got {value!r}")
    found = set(_ancestors(outputs))
    foreign = [value for value in found - set(inputs) if value.layer is None]
    if foreign:
        which = ", ".join(repr(value.name or value) for value in sorted(foreign, key=_order))
        raise ValueError(f"outputs must depend on the model's inputs only; got one that reads {which}")
    return [*inputs, *sorted(found - set(inputs), key=_order)]


def expand(values: Iterable[Value]) -> dict[Value, Value]:
    """Maps each traced value to its equal in a graph in which nested models are replaced by their layers."""
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
    """One array of parameters (or state) that a layer needs."""

    shape: tuple[int, ...]
    initializer: Initializer
    weight_decay_multiplier: float = 0.0  # 1 for weights, 0 for biases
    layout: str = "columns"  # or "rows": which of the two are contiguous in the core


class Store(Protocol):
    """The interface that a layer needs of the store of its parameters."""

    def view(self, layer: Layer, key: str, *, gradient: bool) -> NDArray[Any]:
        """A writable view of one array of the layer, or of its gradient."""

    def trainable_changes(self, layer: Layer, trainable: bool) -> list[_core._Change]:
        """The changes, for `_core.call_together`, that make the layer's arrays trainable or freeze them."""

    def changing(self) -> AbstractContextManager[Any]:
        """A context for changes. Raises RuntimeError if another call uses the store."""


class Layer:
    """An operation of a model. Calling it on symbolic values gives a symbolic value.

    A layer may be called several times, in one model or in several. All calls share its parameters, and their
    gradients add up. The parameters are created when the first model with the layer is built; from then on
    `weight`, `bias` and their gradients are writable views of that model's store.
    """

    kind: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()  # the arguments that describe it in a file, besides its name
    in_features: int | None = None  # the width of its single input, if the layer fixes it
    sources: tuple[Layer, ...] = ()  # other layers whose parameters it reads
    names: Mapping[Layer, str] = MappingProxyType({})  # the names of the layers nested in it

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
            raise TypeError(f"kind must be one that no layer has yet; got {cls.kind!r}, of {known.__name__}")
        LAYER_KINDS[cls.kind] = cls  # the same class may be defined again, as in a notebook

    def __call__(self, *inputs: Value) -> Value:
        """Applies the layer to symbolic values. Raises ValueError if their widths do not match the layer."""
        return Value(self, inputs, self.output_features(self.widths(inputs)))

    def widths(self, inputs: Sequence[Value]) -> list[int]:
        """The widths of symbolic values. Raises TypeError for other objects."""
        for value in inputs:
            if not isinstance(value, Value):
                raise TypeError(
                    f"inputs of {type(self).__name__} must be symbolic values (nc.Input); "
                    f"got {described(value)}: to compute with arrays, build a model and call predict"
                )
        return [value.features for value in inputs]

    def output_features(self, widths: Sequence[int]) -> int:
        """The width of the output for inputs of these widths. Raises ValueError for unsuitable widths."""
        raise NotImplementedError

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The layer's own parameters by name, in the order in which they are stored."""
        return {}

    def state_specs(self) -> dict[str, ParameterSpec]:
        """Numbers that it keeps but does not train, such as running statistics, by name and in order."""
        return {}

    @property
    def has_arrays(self) -> bool:
        """Whether the layer has parameters or state."""
        return bool(self.parameter_specs() or self.state_specs())

    def attributes(self) -> dict[str, bool | int | float | str]:
        """The attributes of its node in the core, besides the kind, the inputs and the parameters."""
        return {}

    def node(self, name: str, inputs: list[int], places: Mapping[Layer, tuple[int, int]]) -> _core.Node:
        """Its node in the core's graph. `places` has the index of each layer's first parameter and state."""
        first, first_state = places.get(self, (0, 0))
        segments = [first + i for i in range(len(self.parameter_specs()))]
        state = [first_state + i for i in range(len(self.state_specs()))]
        return _core.Node.make(self.kind, name, inputs, segments, state, self.attributes())

    def tangent(self, value: Value, tangents: Sequence[Value | None]) -> Value:
        """The tangent of `value`, an output of this layer, given the tangents of its inputs.

        A tangent of None is 0; at least one is not None. Layers without tangents raise NotImplementedError.
        """
        raise NotImplementedError(f"{self!r} has no tangent")

    def expand(self, inputs: Sequence[Value]) -> list[Value]:
        """Its outputs for these inputs, as values of layers that have a node in the core's graph."""
        return [self(*inputs)]

    def describe(self, names: Mapping[Layer, str]) -> dict[str, Any]:
        """The options to rebuild the layer from, as plain numbers and strings.

        `names` has the names of the layers that it refers to.
        """
        return {option: getattr(self, option) for option in self.options}

    @classmethod
    def referred(cls, options: Mapping[str, Any]) -> list[str]:
        """The names, in such options, of layers that must be built first."""
        return []

    @classmethod
    def from_options(cls, options: Mapping[str, Any], layers: Mapping[str, Layer], name: str) -> Layer:
        """The layer that such options describe. `layers` has the layers that it refers to."""
        return cls(**options, name=name)

    @property
    def store(self) -> Store | None:
        """The store of its parameters. None until the first model with the layer is built."""
        return self._store

    @property
    def trainable(self) -> bool:
        """Whether optimizers update its parameters. It can be set at any time."""
        return self._trainable

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        _core.call_together(self.trainable_changes(check_flag(trainable, "trainable")))

    def trainable_changes(self, trainable: bool) -> list[_core._Change]:
        """The changes that set `trainable`, for `_core.call_together`."""
        arrays = [] if self._store is None else self._store.trainable_changes(self, trainable)
        return [*arrays, partial(setattr, self, "_trainable", trainable)]

    def bind(self, store: Store) -> None:
        """Sets the store that holds its parameters."""
        self._store = store

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


# Layers of + - * ----------------------------------------------------------------------------------------


class Join(Layer):
    """Base of layers that combine several values of the same width, element by element."""

    def output_features(self, widths: Sequence[int]) -> int:
        """The common width of at least two inputs."""
        check_several(self, widths)
        if len(set(widths)) > 1:
            got = " and ".join(map(str, widths))
            raise ValueError(f"inputs of {self!r} must have the same width; got {got}")
        return widths[0]


class Add(Join):
    """The sum of two or more values of the same width. `a + b` is short for Add()(a, b)."""

    kind = "add"

    def tangent(self, value: Value, tangents: Sequence[Value | None]) -> Value:
        """The sum of the tangents."""
        moving = [tangent for tangent in tangents if tangent is not None]
        return moving[0] if len(moving) == 1 else Add()(*moving)


class JoinTwo(Join):
    """Base of layers that combine two values of the same width, element by element."""

    def output_features(self, widths: Sequence[int]) -> int:
        """The common width of two inputs."""
        if len(widths) != 2:
            raise ValueError(f"inputs of {self!r} must be two values; got {len(widths)}")
        return super().output_features(widths)


class Subtract(JoinTwo):
    """The difference of two values of the same width. `a - b` is short for Subtract()(a, b)."""

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
    """The elementwise product of two values of the same width. `a * b` is short for Multiply()(a, b)."""

    kind = "multiply"

    def tangent(self, value: Value, tangents: Sequence[Value | None]) -> Value:
        """The tangent by the product rule."""
        first, second = value.inputs
        products = [
            Multiply()(tangent, other)
            for tangent, other in zip(tangents, (second, first), strict=True)
            if tangent is not None
        ]
        return products[0] if len(products) == 1 else Add()(*products)


def check_several(layer: Layer, widths: Sequence[int]) -> None:
    """Raises ValueError for fewer than two inputs."""
    if len(widths) < 2:
        raise ValueError(f"inputs of {layer!r} must be at least two values; got {len(widths)}")
