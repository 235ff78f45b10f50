"""float32 and float64, and the core's classes for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from . import _core
from ._errors import described

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Precision(NamedTuple):
    """The core's classes for one dtype. Both dtypes share one interface, typed here as float32's."""

    parameters: type[_core.Parameters_float32]
    network: type[_core.Network_float32]
    optimizer_state: type[_core.OptimizerState_float32]


PRECISIONS: dict[np.dtype[Any], Precision] = {
    np.dtype(np.float32): Precision(
        _core.Parameters_float32, _core.Network_float32, _core.OptimizerState_float32
    ),
    np.dtype(np.float64): Precision(
        cast(Any, _core.Parameters_float64),
        cast(Any, _core.Network_float64),
        cast(Any, _core.OptimizerState_float64),
    ),
}


def as_dtype(given: DTypeLike) -> np.dtype[Any]:
    """The dtype float32 or float64. Raises TypeError for any other."""
    try:
        dtype = np.dtype(given)
    except (TypeError, ValueError):  # not a dtype
        raise TypeError(f"dtype must be float32 or float64; got {described(given)}") from None
    for own in PRECISIONS:
        if dtype == own:
            return own  # not `given`, which may name the native byte order, as arrays from files do
    raise TypeError(f"dtype must be float32 or float64; got {dtype}")
