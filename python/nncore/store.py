"""Stores: the parameters that one or several models work on."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from . import _core

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from .layers import Layer, Piece


class Precision(NamedTuple):
    """The core's classes for one dtype. Both have the same methods; the types are those of float32."""

    parameters: type[_core.Parameters_float32]
    network: type[_core.Network_float32]
    optimizer_state: type[_core.OptimizerState_float32]


_PRECISIONS: dict[np.dtype[Any], Precision] = {
    np.dtype(np.float32): Precision(
        _core.Parameters_float32, _core.Network_float32, _core.OptimizerState_float32
    ),
    np.dtype(np.float64): Precision(
        cast(Any, _core.Parameters_float64),
        cast(Any, _core.Network_float64),
        cast(Any, _core.OptimizerState_float64),
    ),
}


class Store:
    """The values and gradients of some layers, flat, and which layer each piece belongs to.

    Models made from layers of one store share it: what one of them learns, all of them know.
    """

    def __init__(self, layers: Mapping[str, Layer], dtype: np.dtype[Any], seed: int) -> None:
        self.dtype = dtype
        self.seed = seed
        self.precision = _PRECISIONS[dtype]
        self.names = {layer: name for name, layer in layers.items()}
        self.first_segment: dict[Layer, int] = {}
        self.segments: dict[str, tuple[int, ...]] = {}  # names and shapes, in the order of the flat arrays
        rows: list[_core.Segment] = []
        for name, layer in layers.items():
            self.first_segment[layer] = len(rows)
            for key, piece in layer.pieces().items():
                rows.append(_segment(f"{name}.{key}", piece, layer.trainable))
                self.segments[f"{name}.{key}"] = piece.shape
        self.core = self.precision.parameters(rows)
        self.core.initialize(seed)

    def bind(self) -> None:
        """Tells the layers that their parameters are here, once the model is known to be right."""
        for layer in self.names:
            layer._store = self

    def segments_of(self, layers: Iterable[Layer]) -> list[int]:
        """The indices of all segments of some layers, layer by layer."""
        found: list[int] = []
        for layer in layers:
            first = self.first_segment.get(layer, 0)
            found.extend(range(first, first + len(layer.pieces())))
        return found

    def segment(self, layer: Layer, piece: str) -> int:
        """The index of one piece of a layer."""
        return self.first_segment[layer] + list(layer.pieces()).index(piece)

    def view(self, layer: Layer, piece: str, *, gradient: bool) -> NDArray[Any]:
        """A writable view of one piece, or of its gradient."""
        index = self.segment(layer, piece)
        return self.core.gradient(index) if gradient else self.core.value(index)

    def set_trainable(self, layer: Layer, trainable: bool) -> None:
        """Whether optimizers change the pieces of a layer."""
        for piece in layer.pieces():
            self.core.set_trainable(self.segment(layer, piece), trainable)

    def split(self, flat: NDArray[Any], segments: Iterable[int]) -> dict[str, NDArray[Any]]:
        """Views of some segments in any array laid out like `values`, by segment name, in their shapes."""
        table = list(self.segments.items())
        ends = list(itertools.accumulate(math.prod(shape) for _, shape in table))
        pieces = {}
        for index in segments:
            name, shape = table[index]
            start = ends[index] - math.prod(shape)
            # The view of the values tells in which order the core keeps a segment.
            order = "C" if self.core.value(index).flags.c_contiguous else "F"
            pieces[name] = flat[start : ends[index]].reshape(shape, order=cast(Any, order))
        return pieces

    def replace(self, pieces: Mapping[str, NDArray[Any]], segments: Iterable[int]) -> None:
        """Takes over the values of some segments, by name: all or, where Ctrl-C comes between, none."""
        flat = self.core.values.copy()
        for name, view in self.split(flat, segments).items():
            view[...] = pieces[name]
        with self.core.changing():
            self.core.values[...] = flat


def blend_arrays(precision: Precision, mine: NDArray[Any], theirs: NDArray[Any], fraction: float) -> None:
    """mine += fraction (theirs - mine), with the core's arithmetic and therefore its bits."""
    ours, other = (precision.parameters([_core.Segment("all", mine.shape)]) for _ in range(2))
    ours.value(0)[...], other.value(0)[...] = mine, theirs
    ours.blend(other, fraction)
    mine[...] = ours.value(0)


def as_dtype(given: DTypeLike) -> np.dtype[Any]:
    """float32 or float64; TypeError for any other dtype."""
    dtype = np.dtype(given)
    for own in _PRECISIONS:
        if dtype == own:
            return own  # `given` may spell out the machine's byte order, as arrays from files do
    raise TypeError(f"dtype must be float32 or float64; given {dtype}")


def as_seed(given: int | None, name: str = "seed") -> int:
    """An integer in [0, 2^64); None draws one."""
    if given is None:
        return int.from_bytes(os.urandom(4), "little")
    try:
        seed = given.__index__()
    except AttributeError:
        raise TypeError(f"{name} must be an integer or None; given {type(given).__name__}") from None
    if not 0 <= seed < 2**64:
        raise ValueError(f"{name} must lie in [0, 2**64); given {seed}")
    return seed


def _segment(name: str, piece: Piece, trainable: bool) -> _core.Segment:
    start = piece.initializer
    return _core.Segment(
        name,
        piece.shape,
        initializer=start.kind,
        value=start.value,
        trainable=trainable,
        weight_decay_multiplier=piece.weight_decay_multiplier,
    )
