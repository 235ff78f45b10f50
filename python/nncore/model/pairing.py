"""Pairs the arrays of two models, to copy or average them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .parameter_store import ParameterStore

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Paired(Protocol):
    """The interface that pairing needs of a model."""

    segments: dict[str, int]

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""

    @property
    def store(self) -> ParameterStore:
        """The store of its parameters."""

    def named_arrays(self) -> dict[str, NDArray[Any]]:
        """Its parameters and its state by name."""


def paired_arrays(model: Paired, other: Paired) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Pairs of the model's and the other's arrays: by name or, if the names differ, in layer order."""
    mine, theirs = model.named_arrays(), other.named_arrays()
    if len(mine) != len(theirs):
        raise ValueError(f"other must have {len(mine)} arrays; got {len(theirs)}")
    pairs = list(zip(mine, mine if mine.keys() == theirs.keys() else theirs, strict=True))
    for name, other_name in pairs:
        a, b = mine[name].shape, theirs[other_name].shape
        if a != b:
            raise ValueError(f"other's {other_name} must have the shape of {name}, {a}; got {b}")
    return [(mine[name], theirs[other_name]) for name, other_name in pairs]


def share_layout(model: Paired, other: Paired) -> bool:
    """Whether both use all of their stores in the same layout. The core can then process them in one call."""
    shapes, others = ([spec.shape for spec in pair.store.specs] for pair in (model, other))
    places = list(range(len(shapes)))
    use_all = list(model.segments.values()) == places == list(other.segments.values())
    same = shapes == others and list(model.named_arrays()) == list(other.named_arrays())
    return use_all and same and model.dtype == other.dtype


@contextmanager
def changing_beside(model: Paired, other: Paired) -> Iterator[None]:
    """While this holds, no other call uses the model's store and none trains the other's."""
    with ExitStack() as stack:
        stack.enter_context(model.store.core.changing())
        if other.store is not model.store:
            stack.enter_context(other.store.core.copying())
        yield
