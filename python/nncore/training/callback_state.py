"""What callbacks know: noticed where it changes, and packed for files.

A file has JSON and arrays. What `Callback.state` gives is packed into both, so that lists, tuples, dicts,
numbers that are not finite and arrays come back as what they were.
"""

from __future__ import annotations

import math
import pickle
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from ..graph import Layer
from ..optimizers import Optimizer
from .callbacks import Callback
from .history import History

if TYPE_CHECKING:
    from numpy.typing import NDArray

Prints: TypeAlias = Mapping[str, bytes]

_WHOLE_ARRAY = 65536  # elements; of larger arrays, every so many are looked at
_OUTSIDE = (FunctionType, BuiltinFunctionType, ModuleType, type, Layer, Optimizer, History)


class SavedCallback(NamedTuple):
    """A callback in a fit that a checkpoint was written in."""

    called: bool  # whether it knew of the last epoch
    stopped: bool  # whether it ended the fit after that
    state: Any  # what its state() gave; None where it has none
    changed: Sequence[str]  # its attributes that changed, where it has no state()


#: The callbacks of a fit, by their keys.
SavedCallbacks: TypeAlias = Mapping[str, SavedCallback]


def keyed(callbacks: Iterable[Callback]) -> dict[str, Callback]:
    """Callbacks by class and number among those of the class: "EarlyStopping.0"."""
    keys: dict[str, Callback] = {}
    counts: Counter[str] = Counter()
    for callback in callbacks:
        kind = type(callback).__name__
        keys[f"{kind}.{counts[kind]}"] = callback
        counts[kind] += 1
    return keys


# Which callbacks change ---------------------------------------------------------------------------------


def check_pairs(callbacks: Iterable[Callback]) -> None:
    """TypeError for a class that has one of `state` and `load_state` only."""
    for callback in callbacks:
        kind = type(callback)
        has = [name for name in ("state", "load_state") if getattr(kind, name) is not getattr(Callback, name)]
        if len(has) == 1:
            raise TypeError(
                f"callbacks must have both state() and load_state(), or neither; got {kind.__name__}, which "
                f"has {has[0]}() alone"
            )


def has_state(callback: Callback) -> bool:
    """Whether its class says what it keeps."""
    return type(callback).state is not Callback.state


def prints(callback: Callback, trainer: object) -> Prints:
    """A fingerprint of each attribute that its `state` does not cover, as far as it can be looked at.

    A class that says what it keeps is believed; one that inherits that from the library's is looked at.
    """
    outside = (*_OUTSIDE, type(trainer))
    kind = type(callback)
    definer: type[Callback] = next(base for base in kind.__mro__ if "state" in vars(base))
    covered = definer.own_attributes
    if definer is not Callback and (definer is kind or not covered):
        return {}
    found = object.__getstate__(callback)
    parts = found if isinstance(found, tuple) else (found,)  # with those of __slots__
    attributes = {name: value for part in parts if part for name, value in part.items()}
    return {name: _fingerprint(value, outside) for name, value in attributes.items() if name not in covered}


def _fingerprint(value: object, outside: tuple[type, ...]) -> bytes:
    """Equal for what did not change; for what cannot be pickled, always the same."""
    digest = _Digest()
    try:
        _Fingerprinter(digest, outside).dump(value)
    except Exception:  # locks, open files, ...: whatever a class raises that cannot be pickled
        return b""
    return digest.sha.digest()


class _Digest:
    """A file that is only hashed."""

    def __init__(self) -> None:
        from hashlib import sha256  # takes 5 ms to import, and `import nncore` is to be quick

        self.sha = sha256()

    def write(self, data: Any) -> int:
        self.sha.update(data)
        return len(data)


class _Fingerprinter(pickle.Pickler):
    """Pickles what is a callback's own; other things, such as the trainer's model, are only named."""

    def __init__(self, file: _Digest, outside: tuple[type, ...]) -> None:
        super().__init__(file, protocol=5)
        self._outside = outside

    def persistent_id(self, value: Any) -> object:
        if isinstance(value, np.ndarray) and value.size > _WHOLE_ARRAY:
            sample = value.flat[:: value.size // _WHOLE_ARRAY]
            return "array", value.shape, value.dtype.str, sample.tobytes()
        return ("object", id(value)) if isinstance(value, self._outside) else None


# Packing ------------------------------------------------------------------------------------------------


def pack(value: Any, arrays: list[NDArray[Any]], what: str) -> Any:
    """What JSON can hold in place of a value, and the arrays that go with it; TypeError, naming `what`, for
    anything that is no number, string, None, list, tuple, dict or array.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
            raise TypeError(f"{what} must have arrays of bool, integers or floats; got {value.dtype}")
        arrays.append(np.array(value, dtype=value.dtype.newbyteorder("="), order="C"))
        return {"array" if isinstance(value, np.ndarray) else "scalar": len(arrays) - 1}
    if type(value) is list:
        return [pack(one, arrays, what) for one in value]
    if type(value) is tuple:
        return {"tuple": [pack(one, arrays, what) for one in value]}
    if type(value) is dict:
        return {"dict": [[pack(one, arrays, what) for one in pair] for pair in value.items()]}
    raise TypeError(
        f"{what} must be made of numbers, strings, None, lists, tuples, dicts and arrays; "
        f"got {type(value).__name__}"
    )


def unpack(packed: Any, arrays: Mapping[int, NDArray[Any]]) -> Any:
    """What was packed; the arrays are copies. Raises what a wrong type or key raises for anything else."""
    if isinstance(packed, list):
        return [unpack(one, arrays) for one in packed]
    if not isinstance(packed, dict):
        return packed
    ((kind, given),) = packed.items()
    if kind == "float":
        return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[given]
    if kind == "tuple":
        return tuple(unpack(one, arrays) for one in given)
    if kind == "dict":
        return {unpack(key, arrays): unpack(value, arrays) for key, value in given}
    array = arrays[given]
    return {"array": array.copy, "scalar": lambda: array[()]}[kind]()
