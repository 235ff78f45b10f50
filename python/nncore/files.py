"""Files: models and checkpoints in the safetensors format.

What only reading or writing needs is imported there: `import nncore` is to be quick.

Arrays are named as torch.nn.Sequential names them ("0.weight", (O, I)). All else is one JSON string under
the key "nncore": the format's version, the graph, dtype, seed, the user's metadata, and a SHA-256 of
everything, so that an altered file is noticed. A checkpoint is the same file with `optimizer.*` and
`trainer.*` beside the model's arrays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from . import _core
from .description import connect, describe, make_layers
from .model import Model
from .store import as_dtype, as_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .trainer import Trainer

FORMAT_VERSION = (1, 0)  # a new major version is one that older readers cannot understand
LEAST_READER_VERSION = "0.1.0"  # the first nncore that reads what this one writes

_FIELDS = {
    "format_version",
    "least_reader_version",
    "writer_version",
    "graph",
    "dtype",
    "seed",
    "metadata",
    "checkpoint",
    "sha256",
}
_CHECKPOINT_KEYS = ("optimizer.", "trainer.")

PathLike = str | os.PathLike[str]
Tensors: TypeAlias = "dict[str, NDArray[Any]]"


def save(model: Model, path: PathLike, *, metadata: Mapping[str, Any] | None = None) -> None:
    """Writes a model. `metadata` is anything that JSON can hold; None keeps the model's own.

    The file is written beside its place, synced and renamed: it appears whole, or what was there stays.
    Saving twice gives equal bytes. Raises TypeError or ValueError for metadata that JSON cannot hold, and
    OSError where the disk is full or the folder cannot be written.
    """
    _write(path, _model_fields(model, metadata), _model_tensors(model))


def load(path: PathLike) -> Model:
    """The model of a file that `save`, `Trainer.save` or a Checkpoint wrote; its seed and metadata are the
    saved ones. Raises FileNotFoundError, and ValueError, naming the path, for a file that is truncated,
    altered, not nncore's, or of a version that this one cannot read.

    >>> import nncore as nc, os, tempfile
    >>> model = nc.mlp([3, 4, 2], seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.safetensors")
    ...     model.save(path, metadata={"trained on": "nothing"})
    ...     loaded = nc.load(path)
    >>> loaded.metadata, bool((loaded.parameters == model.parameters).all())
    ({'trained on': 'nothing'}, True)
    """
    fields, tensors = _read(path)
    try:
        return _build(fields, tensors)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{_text(path)}: {error} ({_versions(fields)})") from error


def save_checkpoint(trainer: Trainer, path: PathLike) -> None:
    """Writes a trainer's model, optimizer and history, from which `restore_checkpoint` goes on exactly."""
    fields = _model_fields(trainer.model, None)
    optimizer = trainer.optimizer
    fields["checkpoint"] = {
        "optimizer": optimizer.name,
        "settings": optimizer.settings,
        "seed": trainer.seed,
        "columns": list(trainer.history),
    }
    tensors = _model_tensors(trainer.model)
    tensors["optimizer.steps"] = np.array(optimizer.state(trainer.model.store).steps, dtype=np.int64)
    tensors |= {key: np.ascontiguousarray(view) for key, view in _moments(trainer).items()}
    for column, values in trainer.history.items():
        tensors[f"trainer.history.{column}"] = np.array(values, dtype=np.float64)
    _write(path, fields, tensors)


def restore_checkpoint(trainer: Trainer, path: PathLike) -> None:
    """Brings a trainer, made like the one that was saved, to the state of the file. Everything is checked
    before anything is changed; ValueError names what differs.
    """
    fields, tensors = _read(path)
    try:
        changes = _check_checkpoint(trainer, fields, tensors)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{_text(path)}: {error} ({_versions(fields)})") from error
    for view, values in changes:
        view[...] = values
    checkpoint = fields["checkpoint"]
    columns = {name: tensors[f"trainer.history.{name}"].tolist() for name in checkpoint["columns"]}
    trainer.history.replace(columns)
    trainer.history.seed = trainer.seed = checkpoint["seed"]
    trainer.optimizer.set(checkpoint["settings"])
    trainer.optimizer.state(trainer.model.store).steps = int(tensors["optimizer.steps"])
    for layer, name in trainer.model.names.items():
        layer.trainable = fields["graph"]["layers"][name].get("trainable", True)


# Models and checkpoints as fields and tensors -----------------------------------------------------------


def _model_fields(model: Model, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        **model.unknown_fields,
        "format_version": ".".join(map(str, FORMAT_VERSION)),
        "least_reader_version": LEAST_READER_VERSION,
        "writer_version": _core.__version__,
        "graph": describe(model),
        "dtype": str(model.dtype),
        "seed": model.seed,
        "metadata": dict(model.metadata if metadata is None else metadata),
    }


def _model_tensors(model: Model) -> Tensors:
    """Contiguous copies: safetensors would write the memory of a transposed array in its own order."""
    return {name: np.ascontiguousarray(view) for name, view in model.named_parameters().items()}


def _moments(trainer: Trainer) -> Tensors:
    """Views of the optimizer's moments for the model's arrays, by the names they have in a file."""
    model, store = trainer.model, trainer.model.store
    state = trainer.optimizer.state(store)
    found: Tensors = {}
    for kind, flat in (("first_moment", state.first_moment), ("second_moment", state.second_moment)):
        if flat.size:
            pieces = store.split(flat, model.segments)
            found |= {f"optimizer.{kind}.{name}": view for name, view in pieces.items()}
    return found


def _build(fields: dict[str, Any], tensors: Tensors) -> Model:
    """The model of a file. Sizes are checked against the arrays before anything large is made."""
    layers = make_layers(fields["graph"])
    dtype, seed = as_dtype(fields["dtype"]), as_seed(fields["seed"])
    wanted = {f"{name}.{key}": p.shape for name, layer in layers.items() for key, p in layer.pieces().items()}
    _check_tensors(tensors, wanted, dtype)
    model = connect(fields["graph"], layers, dtype, seed)
    for name, view in model.named_parameters().items():
        view[...] = tensors[name]
    model.metadata = dict(fields["metadata"])
    model.unknown_fields = {name: value for name, value in fields.items() if name not in _FIELDS}
    return model


def _check_tensors(tensors: Tensors, wanted: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any]) -> None:
    own = {name: array for name, array in tensors.items() if not name.startswith(_CHECKPOINT_KEYS)}
    if own.keys() != wanted.keys():
        differing = ", ".join(sorted(own.keys() ^ wanted.keys()))
        raise ValueError(f"the arrays are not those of the graph: {differing} is missing or too much")
    for name, array in own.items():
        if array.shape != wanted[name] or array.dtype != dtype:
            raise ValueError(f"{name} is {array.dtype} {array.shape}; the graph needs {dtype} {wanted[name]}")


def _check_checkpoint(
    trainer: Trainer, fields: dict[str, Any], tensors: Tensors
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Everything that could be wrong; returns which array takes which values."""
    if "checkpoint" not in fields:
        raise ValueError("the file holds a model but no trainer: use nncore.load")
    checkpoint, model, optimizer = fields["checkpoint"], trainer.model, trainer.optimizer
    if _without_flags(fields["graph"]) != _without_flags(describe(model)):
        raise ValueError("the model of the file is not built like the trainer's")
    if checkpoint["optimizer"] != optimizer.name:
        raise ValueError(f"the optimizer is {checkpoint['optimizer']}; the trainer's is {optimizer.name}")
    if set(checkpoint["settings"]) != set(optimizer.settings):
        raise ValueError(f"the optimizer's settings are {sorted(checkpoint['settings'])}")
    _core.Optimizer(optimizer.name, **checkpoint["settings"])  # complains of values out of range
    as_seed(checkpoint["seed"])
    if tensors["optimizer.steps"].shape != () or int(tensors["optimizer.steps"]) < 0:
        raise ValueError("optimizer.steps must be one number, 0 or more")
    lengths = {tensors[f"trainer.history.{name}"].shape for name in checkpoint["columns"]}
    if len(lengths) > 1:
        raise ValueError(f"the columns of the history have several lengths: {sorted(lengths)}")
    views = {**model.named_parameters(), **_moments(trainer)}
    for name, view in views.items():
        if tensors[name].shape != view.shape or tensors[name].dtype != view.dtype:
            raise ValueError(
                f"{name} is {tensors[name].dtype} {tensors[name].shape}; "
                f"the trainer's is {view.dtype} {view.shape}"
            )
    return [(view, tensors[name]) for name, view in views.items()]


def _without_flags(graph: dict[str, Any]) -> dict[str, Any]:
    """A description without what may change over a model's life."""
    layers = {
        name: {option: value for option, value in options.items() if option != "trainable"}
        for name, options in graph["layers"].items()
    }
    return {**graph, "layers": layers}


# Bytes ------------------------------------------------------------------------------------------------


def _write(path: PathLike, fields: dict[str, Any], tensors: Tensors) -> None:
    import shutil
    from pathlib import Path

    from safetensors.numpy import save as to_bytes

    fields = {**fields, "sha256": _digest(fields, tensors)}
    contents = to_bytes(tensors, metadata={"nncore": _json(fields)})
    target = Path(os.path.realpath(os.fspath(path)))  # through a link, to the file that it names
    temporary = target.with_name(f".{target.name}.{os.urandom(6).hex()}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: os.PathLike[str]) -> None:
    """Makes the new name itself durable, where folders can be opened."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: PathLike) -> tuple[dict[str, Any], Tensors]:
    """The fields and arrays of a file, whole and unaltered, of a version that can be read."""
    import json

    from safetensors import SafetensorError, safe_open

    if os.path.isdir(path):  # noqa: PTH112 - see the top of the file
        raise IsADirectoryError(f"{_text(path)} is a folder")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("nncore")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, TypeError, ValueError) as error:
        raise ValueError(f"{_text(path)} is not a whole safetensors file: {error}") from error
    if text is None:
        raise ValueError(f"{_text(path)} was not written by nncore: it has no metadata 'nncore'")
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{_text(path)}: its metadata are not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{_text(path)}: its metadata are not a JSON object")
    _check_version(path, fields)
    if missing := _FIELDS - {"checkpoint"} - fields.keys():
        raise ValueError(f"{_text(path)} lacks the fields {', '.join(sorted(missing))}")
    if fields["sha256"] != _digest(fields, tensors):
        raise ValueError(f"{_text(path)} was altered since it was written: its checksum differs")
    return fields, tensors


def _check_version(path: PathLike, fields: dict[str, Any]) -> None:
    version = _numbers(fields.get("format_version"))
    least_reader = _numbers(fields.get("least_reader_version"))
    if version is None or least_reader is None:
        raise ValueError(f"{_text(path)} does not tell its format version")
    if version[0] != FORMAT_VERSION[0] or least_reader > (_numbers(_core.__version__) or ()):
        raise ValueError(f"{_text(path)} cannot be read by this version ({_versions(fields)})")


def _numbers(version: object) -> tuple[int, ...] | None:
    try:
        return tuple(int(part) for part in str(version).split("."))
    except ValueError:
        return None


def _versions(fields: dict[str, Any]) -> str:
    return (
        f"format {fields['format_version']}, written by nncore {fields.get('writer_version')}, needs nncore "
        f"{fields['least_reader_version']} or later; this is {_core.__version__}"
    )


def _digest(fields: dict[str, Any], tensors: Tensors) -> str:
    """SHA-256 of everything that a file says."""
    from hashlib import sha256

    digest = sha256(_json({name: value for name, value in fields.items() if name != "sha256"}).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _json(fields: Mapping[str, Any]) -> str:
    import json

    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _text(path: PathLike) -> str:
    return os.fspath(path)
