"""The contents of a model file: fields and arrays.

Arrays are named as in torch.nn.Sequential ("0.weight", (O, I)). The fields hold the graph, the dtype, the
seed, the column names of the inputs, and the user's metadata. `_safetensors` is imported only when a file is
read or written, to keep `import nncore` fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .. import _core
from .._arrays import FeatureNames
from .._errors import as_seed
from .._precision import PRECISIONS
from ..graph import Layer
from ..optimizers import Optimizer, saving
from .parameter_store import ParameterStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._safetensors import PathLike, Tensors

# The fields that this version knows. Unknown ones are kept for the next save.
_FIELDS = ("graph", "dtype", "seed", "metadata", "feature_names", "checkpoint")
CHECKPOINT_KEYS = ("optimizer.", "trainer.")  # prefixes of the arrays that are not the model's


class Saved(Protocol):
    """The interface that saving needs of a model."""

    metadata: dict[str, Any]
    unknown_fields: dict[str, Any]
    segments: dict[str, int]

    @property
    def network(self) -> _core.Network_float32:
        """The core's network."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""

    @property
    def seed(self) -> int:
        """The seed of its parameters."""

    @property
    def store(self) -> ParameterStore:
        """Its parameters."""

    @property
    def feature_names(self) -> FeatureNames:
        """The column names of its inputs."""

    def describe_graph(self) -> dict[str, Any]:
        """Its graph as plain numbers and strings."""

    def named_arrays(self) -> dict[str, NDArray[Any]]:
        """Its parameters and its state by name."""


def contents(model: Saved, metadata: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], Tensors]:
    """The fields and arrays of a model file.

    The arrays are C-contiguous copies: safetensors would write a transposed array in its memory order.
    """
    fields = {
        **model.unknown_fields,
        "graph": model.describe_graph(),
        "dtype": str(model.dtype),
        "seed": model.seed,
        "feature_names": {name: list(labels) for name, labels in model.feature_names.items()},
        "metadata": as_metadata(model.metadata if metadata is None else metadata),
    }
    with model.store.core.copying():
        return fields, {name: np.array(view, order="C") for name, view in model.named_arrays().items()}


def write(
    model: Saved, path: PathLike, metadata: Mapping[str, Any] | None, optimizer: Optimizer | None
) -> None:
    """Writes a model file, with the optimizer's state for the model if one is given."""
    from .._safetensors import write as write_file

    if not (optimizer is None or isinstance(optimizer, Optimizer)):
        raise TypeError(f"optimizer must be an Optimizer; got {type(optimizer).__name__}")
    with model.store.core.copying():
        fields, tensors = contents(model, metadata)
        if optimizer is not None:
            fields["checkpoint"], slots = saving.contents(optimizer, model)
            tensors |= slots
    write_file(path, fields, tensors)


def unknown_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a file that this version does not know."""
    from .._safetensors import OWN_FIELDS

    return {name: value for name, value in fields.items() if name not in (*_FIELDS, *OWN_FIELDS)}


def check_tensors(tensors: Tensors, layers: Mapping[str, Layer], dtype: np.dtype[Any]) -> None:
    """Raises ValueError unless a file's arrays are those of the layers of its graph."""
    wanted = {
        f"{name}.{key}": spec.shape
        for name, layer in layers.items()
        for key, spec in (layer.parameter_specs() | layer.state_specs()).items()
    }
    own = {name: array for name, array in tensors.items() if not name.startswith(CHECKPOINT_KEYS)}
    if own.keys() != wanted.keys():
        differing = ", ".join(sorted(own.keys() ^ wanted.keys()))
        raise ValueError(f"arrays must be those of the graph; got {differing} missing or unexpected")
    for name, array in own.items():
        if array.shape != wanted[name] or array.dtype != dtype:
            raise ValueError(
                f"{name} must be {dtype} {wanted[name]}, as in the graph; got {array.dtype} {array.shape}"
            )


def checked_dtype(given: object) -> np.dtype[Any]:
    """The dtype that a file names. Raises ValueError for an unsupported one."""
    names = {str(dtype): dtype for dtype in PRECISIONS}
    if not isinstance(given, str) or given not in names:
        raise ValueError(f"dtype must be {' or '.join(names)}; got {given!r}")
    return names[given]


def checked_seed(given: object) -> int:
    """The seed in a file. Raises TypeError or ValueError for an invalid one."""
    if type(given) is not int:
        raise TypeError(f"seed must be an integer; got {type(given).__name__}")
    return as_seed(given)


def as_metadata(given: Mapping[str, Any]) -> dict[str, Any]:
    """A user's metadata as a dict. Raises TypeError or ValueError unless it is a JSON-serializable dict with
    strings as keys.
    """
    import json  # slow to import, and only files need it

    if not isinstance(given, Mapping):
        raise TypeError(f"metadata must be a dict; got {type(given).__name__}")
    for key in given:
        if not isinstance(key, str):
            raise TypeError(f"metadata must have strings as keys; got {key!r}")
    try:
        json.dumps(dict(given), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"metadata must be JSON-serializable; got a dict that is not: {error}") from None
    return dict(given)
