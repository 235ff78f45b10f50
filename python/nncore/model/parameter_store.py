"""Parameter stores, each of which one or several models share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from operator import setitem
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, cast
from weakref import WeakSet

import numpy as np

from .. import _core
from .._errors import as_seed
from .._names import TakenNames
from .._precision import PRECISIONS, Precision, as_dtype
from ..graph import Layer, ParameterSpec

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class Tenant(Protocol):
    """The interface that a store needs of the models that use it."""

    def attach(self, store: ParameterStore) -> None:
        """Plans the model's graph on a store that holds all of its layers."""


class ParameterStore:
    """The parameters, gradients and state of some layers in flat arrays, and the place of each layer in them.

    Models built from layers of one store share its values: training one changes all. A model that nests
    models with stores of their own gets a new store, to which theirs move.
    """

    def __init__(self, layers: Mapping[str, Layer], dtype: np.dtype[Any], seed: int) -> None:
        self.dtype = dtype
        self.precision = PRECISIONS[dtype]
        self.names = {layer: name for name, layer in layers.items()}
        self.places: dict[Layer, tuple[int, int]] = {}  # the index of each layer's first parameter and state
        self.specs: list[ParameterSpec] = []  # of the segments, in the order of the flat arrays
        self.tenants: WeakSet[Tenant] = WeakSet()  # the models that use it
        self.moved = False  # whether its layers moved to another store
        self._state_specs: list[ParameterSpec] = []
        names: list[str] = []
        state_names: list[str] = []
        trainable: list[bool] = []
        for name, layer in layers.items():
            self.places[layer] = len(self.specs), len(self._state_specs)
            for key, spec in layer.parameter_specs().items():
                names.append(f"{name}.{key}")
                trainable.append(layer.trainable)
                self.specs.append(spec)
            for key, spec in layer.state_specs().items():
                state_names.append(f"{name}.{key}")
                self._state_specs.append(spec)
        self._starts = _starts(self.specs)
        self.core = self._make_core(names, state_names, trainable)
        self.core.initialize(seed)

    def _make_core(
        self, names: Sequence[str], state_names: Sequence[str], trainable: Sequence[bool]
    ) -> _core.Parameters_float32:
        """The core's store, with the given names and the specs of `specs` and `_state_specs`."""
        segments = map(_segment, names, self.specs, trainable)
        state = (
            _segment(name, spec, False) for name, spec in zip(state_names, self._state_specs, strict=True)
        )
        return self.precision.parameters(list(segments), list(state))

    def __getstate__(self) -> dict[str, Any]:
        """For pickles and deep copies: the core's store as plain objects, without the gradients. Raises
        RuntimeError while another call trains.
        """
        core = self.core
        with core.copying():
            segments = core.segments
            arguments = {
                "names": [segment.name for segment in segments],
                "state_names": [segment.name for segment in core.state_segments],
                "trainable": [segment.trainable for segment in segments],
            }
            multipliers = [(one.learning_rate_multiplier, one.weight_decay_multiplier) for one in segments]
            numbers = core.values.copy(), core.state.copy(), core.seed, core.random_step
        excluded = ("core", "precision", "tenants", "_starts")
        others = {name: value for name, value in vars(self).items() if name not in excluded}
        return {**others, "core": (arguments, multipliers, numbers)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        arguments, multipliers, (values, own_state, seed, random_step) = state.pop("core")
        vars(self).update(state)
        self.precision, self.tenants, self._starts = PRECISIONS[self.dtype], WeakSet(), _starts(self.specs)
        self.core = self._make_core(**arguments)
        for place, (rate, decay) in enumerate(multipliers):
            self.core.set_learning_rate_multiplier(place, rate)
            self.core.set_weight_decay_multiplier(place, decay)
        self.core.values[...], self.core.state[...] = values, own_state
        self.core.seed, self.core.random_step = seed, random_step

    @property
    def seed(self) -> int:
        """The seed from which the parameters were drawn and dropout draws."""
        return self.core.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self.core.seed = seed

    def bind(self) -> None:
        """Binds the layers to this store, once the model is known to be valid."""
        for layer in self.names:
            layer.bind(self)

    def check_not_moved(self) -> None:
        """Raises RuntimeError if the layers have moved: training this store would change no model."""
        if self.moved:
            raise RuntimeError(
                "the model's parameters moved to the store of a larger model that now contains it; "
                "create a new Trainer for it"
            )

    def changing(self) -> AbstractContextManager[Any]:
        """A context for changes. Raises RuntimeError if another call uses the store."""
        return self.core.changing()

    def segment(self, layer: Layer, key: str) -> int:
        """The index of one of a layer's arrays of parameters."""
        return self.places[layer][0] + list(layer.parameter_specs()).index(key)

    def segments_of(self, names: Mapping[Layer, str]) -> dict[str, int]:
        """The indices of the parameters of some layers, by names such as "0.weight", layer by layer."""
        return {
            f"{name}.{key}": self.segment(layer, key)
            for layer, name in names.items()
            for key in layer.parameter_specs()
        }

    def state_views(self, names: Mapping[Layer, str]) -> dict[str, NDArray[Any]]:
        """Writable views of the state of some layers, by names such as "1.running_mean"."""
        return {
            f"{name}.{key}": self.core.state_value(self.places[layer][1] + i)
            for layer, name in names.items()
            for i, key in enumerate(layer.state_specs())
        }

    def view(self, layer: Layer, key: str, *, gradient: bool) -> NDArray[Any]:
        """A writable view of one array of a layer, or of its gradient."""
        if key in layer.state_specs():
            return self.core.state_value(self.places[layer][1] + list(layer.state_specs()).index(key))
        index = self.segment(layer, key)
        return self.core.gradient(index) if gradient else self.core.value(index)

    def trainable_changes(self, layer: Layer, trainable: bool) -> list[_core._Change]:
        """The changes, for `_core.call_together`, that make a layer's arrays trainable or freeze them."""
        first = self.places[layer][0]
        places = range(first, first + len(layer.parameter_specs()))
        return [partial(self.core.set_trainable, place, trainable) for place in places]

    def split(self, flat: NDArray[Any], segments: Mapping[str, int]) -> dict[str, NDArray[Any]]:
        """Splits a flat array in the layout of `values` into views of some segments, by name."""
        starts = self._starts
        return {
            name: _shaped(flat[starts[index] : starts[index + 1]], self.specs[index])
            for name, index in segments.items()
        }

    def replace(
        self,
        arrays: Mapping[str, NDArray[Any]],
        segments: Mapping[str, int],
        names: Mapping[Layer, str] = MappingProxyType({}),
    ) -> None:
        """Sets the parameters of some segments and the state of the layers in `names`: all or, on Ctrl-C,
        none.
        """
        flat, state = self.core.values.copy(), self.core.state.copy()
        for name, view in self.split(flat, segments).items():
            view[...] = arrays[name]
        start = self.core.state.ctypes.data
        for name, view in self.state_views(names).items():
            first = (view.ctypes.data - start) // state.itemsize
            state[first : first + view.size] = arrays[name]
        with self.changing():
            _core.call_together(
                [partial(setitem, self.core.values, ..., flat), partial(setitem, self.core.state, ..., state)]
            )


class Place:
    """The store of a model that is being built, and the stores that move into it.

    Layers stay in their old stores until the model is known to be valid and calls `settle`.
    """

    def __init__(
        self, store: ParameterStore, moving: Sequence[ParameterStore] = (), *, is_new: bool = True
    ) -> None:
        self.store = store
        self._moving, self._is_new = moving, is_new
        with ExitStack() as using:
            for old in moving:
                using.enter_context(old.changing())
                for layer in old.names:
                    for key in layer.parameter_specs():
                        store.view(layer, key, gradient=False)[...] = old.view(layer, key, gradient=False)
                    state = old.state_views({layer: ""})
                    for key, view in store.state_views({layer: ""}).items():
                        view[...] = state[key]

    def settle(self) -> None:
        """Moves the layers, and the models of the old stores, to the new store."""
        if self._is_new:
            self.store.bind()
        for old in self._moving:
            for tenant in list(old.tenants):
                tenant.attach(self.store)
            old.moved = True


def find_place(
    names: Mapping[Layer, str], nested: Iterable[Layer], dtype: DTypeLike | None, seed: int | None
) -> Place:
    """The store that a model's layers share, or a new one, to which the stores of `nested` layers move.

    Raises ValueError if dtype or seed differ from those of existing parameters, or if layers that no nested
    model has belong to several stores.
    """
    stores = _stores_of(names)
    old = [store for store in stores if store is not None]
    if dtype is not None or len(old) > 1:
        own = as_dtype(old[0].dtype if dtype is None else dtype)
        for store in old:
            if own != store.dtype:
                raise ValueError(f"dtype must be {store.dtype}, like the layers' store; got {own}")
    if len(stores) == 1 and old:
        if seed is not None and as_seed(seed) != old[0].seed:
            raise ValueError(
                f"seed must be {old[0].seed}, like that of the layers' store; got {as_seed(seed)}"
            )
        return Place(old[0], is_new=False)
    holders = {name: layer for layer, name in names.items() if layer.has_arrays}
    if not old:
        return Place(ParameterStore(holders, as_dtype(np.float32 if dtype is None else dtype), as_seed(seed)))
    if not set(old) <= set(_stores_of(nested)):
        which = ", ".join(
            f"{layer!r} ({'new' if layer.store is None else 'in use'})" for layer in holders.values()
        )
        raise ValueError(
            f"layers must share one store of parameters; got {which}. First build the largest model, which "
            "holds all of these layers; smaller models of its layers then share its parameters"
        )
    moving = set(holders.values())
    taken = TakenNames(holders)
    for store in old:  # layers that only other models of those stores use
        for layer, name in store.names.items():
            if layer not in moving:
                free = taken.free(name)
                taken.add(free)
                holders[free] = layer
                moving.add(layer)
    return Place(ParameterStore(holders, old[0].dtype, as_seed(seed)), old)


def shared_store(layers: Iterable[Layer]) -> ParameterStore | None:
    """The store that all layers with parameters share. None if there is no store, or more than one."""
    stores = _stores_of(layers)
    return stores[0] if len(stores) == 1 else None


def moved_array(
    precision: Precision, mine: NDArray[Any], theirs: NDArray[Any], fraction: float
) -> NDArray[Any]:
    """mine + fraction (theirs - mine), computed by the core, for the same bits everywhere."""
    ours, other = (precision.parameters([_core.Segment("all", mine.shape)]) for _ in range(2))
    ours.value(0)[...], other.value(0)[...] = mine, theirs
    ours.soft_update(other, fraction)
    return ours.value(0)


def _stores_of(layers: Iterable[Layer]) -> list[ParameterStore | None]:
    """The distinct stores of the layers with parameters or state. None stands for new layers."""
    found = dict.fromkeys(layer.store for layer in layers if layer.has_arrays)
    return cast("list[ParameterStore | None]", list(found))


def _starts(specs: Iterable[ParameterSpec]) -> list[int]:
    """The start of each array in the flat one, and the end of the last."""
    return list(itertools.accumulate((math.prod(spec.shape) for spec in specs), initial=0))


def _shaped(piece: NDArray[Any], spec: ParameterSpec) -> NDArray[Any]:
    """A piece of a flat array in its shape. By columns, the weights of one input are contiguous."""
    if spec.layout == "rows" or len(spec.shape) < 2:
        return piece.reshape(spec.shape)
    *groups, rows, columns = spec.shape
    return piece.reshape(*groups, columns, rows).swapaxes(-1, -2)


def _segment(name: str, spec: ParameterSpec, trainable: bool) -> _core.Segment:
    start = spec.initializer
    return _core.Segment(
        name,
        spec.shape,
        layout=spec.layout,
        initializer=start.kind,
        initializer_parameters=start.parameters,
        trainable=trainable,
        weight_decay_multiplier=spec.weight_decay_multiplier,
    )
