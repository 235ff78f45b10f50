"""The state of callbacks: detects changes to it, and packs it for files.

A file holds JSON and arrays. The result of `Callback.state` is packed into both, so that lists, tuples,
dicts, non-finite numbers and arrays come back with their types.
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

Fingerprints: TypeAlias = Mapping[str, bytes]

_MOST_ELEMENTS = 65536  # of an array to fingerprint; larger ones are sampled at a fixed stride
_EXTERNAL = (FunctionType, BuiltinFunctionType, ModuleType, type, Layer, Optimizer, History)


class SavedCallback(NamedTuple):
    """A callback as a checkpoint holds it, if the checkpoint was written during a fit."""

    called: bool  # whether its on_epoch_end was called for the last epoch
    stopped: bool  # whether it then stopped the fit
    state: Any  # the result of its state(), or None if it has none
    changed: Sequence[str]  # the attributes that changed and that state() does not cover


#: The callbacks of a fit by key.
SavedCallbacks: TypeAlias = Mapping[str, SavedCallback]


def keyed(callbacks: Iterable[Callback]) -> dict[str, Callback]:
    """Callbacks by key, which is the class and a number within the class: "EarlyStopping.0"."""
    keys: dict[str, Callback] = {}
    counts: Counter[str] = Counter()
    for callback in callbacks:
        kind = type(callback).__name__
        keys[f"{kind}.{counts[kind]}"] = callback
        counts[kind] += 1
    return keys


# Detecting changes --------------------------------------------------------------------------------------


def check_pairs(callbacks: Iterable[Callback]) -> None:
    """Raises TypeError for a class with only one of `state` and `load_state`."""
    for callback in callbacks:
        kind = type(callback)
        has = [name for name in ("state", "load_state") if getattr(kind, name) is not getattr(Callback, name)]
        if len(has) == 1:
            raise TypeError(
                f"callbacks must have both state() and load_state(), or neither; got {kind.__name__}, which "
                f"has only {has[0]}()"
            )


def has_state(callback: Callback) -> bool:
    """Whether its class overrides `state`."""
    return type(callback).state is not Callback.state


def fingerprints(callback: Callback, trainer: object) -> Fingerprints:
    """A fingerprint of each attribute that its `state` does not cover.

    A user's class that overrides `state` is trusted to cover all attributes. A subclass of one of the
    library's callbacks inherits a `state` that covers only the library's own attributes.
    """
    external = (*_EXTERNAL, type(trainer))
    kind = type(callback)
    definer: type[Callback] = next(base for base in kind.__mro__ if "state" in vars(base))
    covered = definer.own_attributes
    if definer is not Callback and (definer is kind or not covered):
        return {}
    found = object.__getstate__(callback)
    parts = found if isinstance(found, tuple) else (found,)  # a tuple includes __slots__
    attributes = {name: value for part in parts if part for name, value in part.items()}
    return {name: _fingerprint(value, external) for name, value in attributes.items() if name not in covered}


def _fingerprint(value: object, external: tuple[type, ...]) -> bytes:
    """A hash of a value's pickle. Values that cannot be pickled all have the same one."""
    digest = _Digest()
    try:
        _Fingerprinter(digest, external).dump(value)
    except Exception:  # classes that cannot be pickled, such as locks and open files, may raise anything
        return b""
    return digest.sha.digest()


class _Digest:
    """A file object that only hashes what is written."""

    def __init__(self) -> None:
        from hashlib import sha256  # takes 5 ms to import, which would slow `import nncore`

        self.sha = sha256()

    def write(self, data: Any) -> int:
        self.sha.update(data)
        return len(data)


class _Fingerprinter(pickle.Pickler):
    """Pickles a callback's own values. Objects such as the trainer's model are only identified."""

    def __init__(self, file: _Digest, external: tuple[type, ...]) -> None:
        super().__init__(file, protocol=5)
        self._external = external

    def persistent_id(self, value: Any) -> object:
        if isinstance(value, np.ndarray) and value.size > _MOST_ELEMENTS:
            sample = value.flat[:: value.size // _MOST_ELEMENTS]
            return "array", value.shape, value.dtype.str, sample.tobytes()
        return ("object", id(value)) if isinstance(value, self._external) else None


# Packing ------------------------------------------------------------------------------------------------


def pack(value: Any, arrays: list[NDArray[Any]], what: str) -> Any:
    """Converts a value for JSON and appends its arrays to `arrays`.

    Raises TypeError, with `what` as the subject, for anything but numbers, strings, None, lists, tuples,
    dicts and arrays.
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
        f"{what} must consist of numbers, strings, None, lists, tuples, dicts and arrays; "
        f"got {type(value).__name__}"
    )


def unpack(packed: Any, arrays: Mapping[int, NDArray[Any]]) -> Any:
    """The value that was packed, with copies of the arrays. Malformed input raises various exceptions."""
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
