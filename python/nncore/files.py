"""Files: models and checkpoints, as `container` writes them.

Arrays are named as torch.nn.Sequential names them ("0.weight", (O, I)); the fields hold the graph, dtype,
seed, the names of the inputs' columns, and the user's metadata. A checkpoint is the same file with
`optimizer.*` and `trainer.*` beside the model's arrays. The container is imported where it is used:
`import nncore` is to be quick.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from .callbacks import keyed
from .data import check_feature_names
from .description import connect, describe, make_layers
from .model import Model
from .store import as_dtype, as_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .container import PathLike, Tensors
    from .trainer import ResumedFit, Trainer

# What this module puts into a file's fields; others are kept for the next save.
_FIELDS = ("graph", "dtype", "seed", "metadata", "feature_names", "checkpoint")
_CHECKPOINT_KEYS = ("optimizer.", "trainer.")
_CALLBACK_KEY = "trainer.callback."


def save(model: Model, path: PathLike, *, metadata: Mapping[str, Any] | None = None) -> None:
    """Writes a model. `metadata` is a dict with string keys that JSON can hold; None keeps the model's own.

    The file is written beside its place, synced and renamed: it appears whole, or what was there stays.
    Saving twice gives equal bytes. Raises TypeError or ValueError for metadata that JSON cannot hold,
    IsADirectoryError or shutil.SpecialFileError where the path is no regular file, and other OSErrors where
    the disk is full or the folder cannot be written.
    """
    from .container import write

    write(path, *contents(model, metadata))


def load(path: PathLike) -> Model:
    """The model of a file that `save`, `Trainer.save` or a Checkpoint wrote; its seed, metadata and feature
    names are the saved ones. Raises FileNotFoundError, IsADirectoryError for a folder,
    shutil.SpecialFileError (an OSError) for a FIFO, socket or device, and ValueError, naming the path, for a
    file that is truncated, altered, not nncore's, or of a version that this one cannot read.

    >>> import nncore as nc, os, tempfile
    >>> model = nc.mlp([3, 4, 2], seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.safetensors")
    ...     model.save(path, metadata={"trained on": "nothing"})
    ...     loaded = nc.load(path)
    >>> loaded.metadata, bool((loaded.parameters == model.parameters).all())
    ({'trained on': 'nothing'}, True)
    """
    from .container import read

    fields, tensors = read(path)
    with _explaining(path, fields):
        return build(fields, tensors)


def save_checkpoint(trainer: Trainer, path: PathLike) -> None:
    """Writes a trainer's model, optimizer and history, from which `restore_checkpoint` goes on exactly."""
    from .container import write

    with trainer.between_epochs(wait=True), trainer.model.store.core.copying():
        fields, tensors = _checkpoint_contents(trainer)
    write(path, fields, tensors)


def restore_checkpoint(trainer: Trainer, path: PathLike) -> None:
    """Brings a trainer, made like the one that was saved, to the state of the file. Everything is checked
    before anything is changed; ValueError names what differs.
    """
    from .container import read

    fields, tensors = read(path)
    with _explaining(path, fields):
        changes = _check_checkpoint(trainer, fields, tensors)
        resumed = _resumed_fit(fields["checkpoint"], tensors)
    checkpoint = fields["checkpoint"]
    with trainer.between_epochs(wait=False):
        with trainer.model.store.core.changing():
            for view, values in changes:
                view[...] = values
            trainer.optimizer.state(trainer.model.store).steps = int(tensors["optimizer.steps"])
        columns = {name: tensors[f"trainer.history.{name}"].tolist() for name in checkpoint["columns"]}
        trainer.history.replace(columns)
        trainer.history.seed = trainer.seed = checkpoint["seed"]
        trainer.optimizer.set(checkpoint["settings"])
        trainer.resumed = resumed if trainer.running is None else None
        trainer.model.store.seed = fields["seed"]
        trainer.model.metadata = dict(fields["metadata"])
        trainer.model.feature_names = fields.get("feature_names", {})
        for layer, name in trainer.model.names.items():
            layer.trainable = fields["graph"]["layers"][name].get("trainable", True)


# Models and checkpoints as fields and tensors -----------------------------------------------------------


def contents(model: Model, metadata: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], Tensors]:
    """The fields and arrays of a model's file. The arrays are contiguous copies: safetensors would write the
    memory of a transposed array in its own order.
    """
    fields = {
        **model.unknown_fields,
        "graph": describe(model),
        "dtype": str(model.dtype),
        "seed": model.seed,
        "feature_names": {name: list(labels) for name, labels in model.feature_names.items()},
        "metadata": _as_metadata(model.metadata if metadata is None else metadata),
    }
    with model.store.core.copying():
        return fields, {name: np.array(view, order="C") for name, view in model.named_parameters().items()}


def _checkpoint_contents(trainer: Trainer) -> tuple[dict[str, Any], Tensors]:
    """The same of a trainer's file."""
    fields, tensors = contents(trainer.model)
    optimizer, running = trainer.optimizer, trainer.running
    fields["checkpoint"] = {
        "optimizer": optimizer.kind,
        "settings": optimizer.settings,
        "seed": trainer.seed,
        "columns": list(trainer.history),
        "fit_began": None if running is None else running.first_epoch,
    }
    tensors["optimizer.steps"] = np.array(optimizer.state(trainer.model.store).steps, dtype=np.int64)
    tensors |= {key: np.array(view, order="C") for key, view in _slots(trainer).items()}
    for column, values in trainer.history.items():
        tensors[f"trainer.history.{column}"] = np.array(values, dtype=np.float64)
    for key, callback in keyed(() if running is None else running.callbacks).items():
        for name, array in callback.checkpoint_state().items():
            tensors[f"{_CALLBACK_KEY}{key}.{name}"] = np.array(array, order="C")
    return fields, tensors


def _resumed_fit(checkpoint: Mapping[str, Any], tensors: Tensors) -> ResumedFit | None:
    """The fit that a checkpoint was written in."""
    from .trainer import ResumedFit

    first_epoch = checkpoint["fit_began"]
    if first_epoch is None:
        return None
    if not isinstance(first_epoch, int) or first_epoch < 0:
        raise ValueError(f"fit_began must be a number of epochs or null; got {first_epoch!r}")
    kept: dict[str, Tensors] = {}
    for key, array in tensors.items():
        if key.startswith(_CALLBACK_KEY):
            kind, number, name = key.removeprefix(_CALLBACK_KEY).split(".", 2)
            kept.setdefault(f"{kind}.{number}", {})[name] = array
    return ResumedFit(first_epoch, kept)


def _as_metadata(given: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise TypeError(f"metadata must be a dict; given {type(given).__name__}")
    for key in given:
        if not isinstance(key, str):
            raise TypeError(f"metadata must have strings as keys; given {key!r}")
    return dict(given)


def _slots(trainer: Trainer) -> Tensors:
    """Views of the optimizer's slots for the model's arrays, by the names they have in a file."""
    model, store = trainer.model, trainer.model.store
    state = trainer.optimizer.state(store)
    state.prepare_slots(trainer.optimizer.core, store.core)
    return {
        f"optimizer.{slot}.{name}": view
        for slot, flat in state.slots.items()
        for name, view in store.split(flat, model.segments).items()
    }


def build(fields: dict[str, Any], tensors: Tensors) -> Model:
    """The model of a file's contents. Sizes are checked against the arrays before anything large is made."""
    from .container import OWN_FIELDS

    layers = make_layers(fields["graph"])
    dtype, seed = as_dtype(fields["dtype"]), as_seed(fields["seed"])
    wanted = {f"{name}.{key}": p.shape for name, layer in layers.items() for key, p in layer.pieces().items()}
    _check_tensors(tensors, wanted, dtype)
    model = connect(fields["graph"], layers, dtype, seed)
    for name, view in model.named_parameters().items():
        view[...] = tensors[name]
    model.metadata = dict(fields["metadata"])
    model.feature_names = fields.get("feature_names", {})
    known = (*_FIELDS, *OWN_FIELDS)
    model.unknown_fields = {name: value for name, value in fields.items() if name not in known}
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
    if checkpoint["optimizer"] != optimizer.kind:
        raise ValueError(f"the optimizer is {checkpoint['optimizer']}; the trainer's is {optimizer.kind}")
    if set(checkpoint["settings"]) != set(optimizer.settings):
        raise ValueError(f"the optimizer's settings are {sorted(checkpoint['settings'])}")
    _core.Optimizer(optimizer.kind, **checkpoint["settings"])  # complains of values out of range
    as_seed(checkpoint["seed"])
    as_seed(fields["seed"])
    _as_metadata(fields["metadata"])
    check_feature_names(fields.get("feature_names", {}), model.input_names, model.input_widths)
    if tensors["optimizer.steps"].shape != () or int(tensors["optimizer.steps"]) < 0:
        raise ValueError("optimizer.steps must be one number, 0 or more")
    lengths = {tensors[f"trainer.history.{name}"].shape for name in checkpoint["columns"]}
    if len(lengths) > 1:
        raise ValueError(f"the columns of the history have several lengths: {sorted(lengths)}")
    slots = _slots(trainer)
    kept = {name for name in tensors if name.startswith("optimizer.")} - {"optimizer.steps"}
    if kept != slots.keys():
        differing = ", ".join(sorted(kept ^ slots.keys()))
        raise ValueError(
            f"the optimizer's slots are not those of the trainer: {differing} is missing or too much"
        )
    views = {**model.named_parameters(), **slots}
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


@contextmanager
def _explaining(path: PathLike, fields: Mapping[str, Any]) -> Iterator[None]:
    """Says of any complaint about a file's contents which file it is and what could read it."""
    from .container import versions

    try:
        yield
    except KeyError as error:
        raise ValueError(f"{os.fspath(path)} lacks {error} ({versions(fields)})") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)}: {error} ({versions(fields)})") from error
