"""Checkpoints: model files that also hold a trainer's state, so that training resumes exactly.

A checkpoint is a model file with `optimizer.*` and `trainer.*` besides the model's arrays. `_safetensors` is
imported only when a file is read or written, to keep `import nncore` fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from operator import setitem
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from .. import _core
from .._arrays import FeatureNames, check_feature_names
from ..model import Model
from ..model.config import trainable_flags, without_flags
from ..model.contents import CHECKPOINT_KEYS, as_metadata, checked_dtype, checked_seed, contents
from ..optimizers import Optimizer, saving
from .callback_state import SavedCallback, SavedCallbacks, pack, unpack
from .history import History

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._safetensors import PathLike, Tensors

_HISTORY_KEY = "trainer.history."
_CALLBACK_KEY = "trainer.callback."


class SavedTrainer(Protocol):
    """The interface that a checkpoint needs of a trainer."""

    model: Model
    optimizer: Optimizer
    history: History
    seed: int
    resumed: SavedCallbacks | None

    @property
    def is_fitting(self) -> bool:
        """Whether a fit is in progress."""

    def saved_callbacks(self) -> SavedCallbacks | None:
        """The state of the callbacks."""

    def between_epochs(self, *, wait: bool) -> AbstractContextManager[None]:
        """A context in which no epoch begins."""


class Moment(NamedTuple):
    """Everything that a checkpoint restores."""

    arrays: Tensors  # of the model
    optimizer: saving.Moment
    columns: dict[str, list[float]]  # of the history
    seed: int  # of the trainer
    store_seed: int
    metadata: dict[str, Any]
    feature_names: FeatureNames
    trainable: dict[str, bool]  # by layer name
    callbacks: SavedCallbacks | None


def save_checkpoint(trainer: SavedTrainer, path: PathLike) -> None:
    """Writes a trainer's model, optimizer, history and callbacks for `restore_checkpoint`."""
    from .._safetensors import write

    with trainer.between_epochs(wait=True), trainer.model.store.core.copying():
        fields, tensors = _checkpoint_contents(trainer)
    write(path, fields, tensors)


def restore_checkpoint(trainer: SavedTrainer, path: PathLike) -> None:
    """Restores the state in the file to a trainer that was built like the saved one.

    Everything is checked before anything is changed. Raises ValueError, naming what differs. After an error
    or Ctrl-C, the trainer is unchanged.
    """
    from .._safetensors import explaining, read

    fields, tensors = read(path)
    with explaining(path, fields):
        moment = _checked(trainer, fields, tensors)
    with trainer.between_epochs(wait=False):
        _core.call_together(_changes_to(moment, trainer))


def _changes_to(moment: Moment, trainer: SavedTrainer) -> list[_core._Change]:
    """The changes that restore a moment, for `_core.call_together`."""
    model = trainer.model
    guard = model.store.core.changing()
    layers = {name: layer for layer, name in model.names.items()}
    return [
        guard.__enter__,
        *(partial(setitem, view, ..., moment.arrays[name]) for name, view in model.named_arrays().items()),
        *saving.changes_to(moment.optimizer, trainer.optimizer, model),
        partial(guard.__exit__, None, None, None),
        *trainer.history.changes_to(moment.columns, moment.seed),
        partial(setattr, trainer, "seed", moment.seed),
        partial(setattr, trainer, "resumed", None if trainer.is_fitting else moment.callbacks),
        partial(setattr, model.store.core, "seed", moment.store_seed),
        partial(setattr, model, "metadata", moment.metadata),
        partial(setattr, model.reader, "feature_names", moment.feature_names),
        *(
            change
            for name, trainable in moment.trainable.items()
            for change in layers[name].trainable_changes(trainable)
        ),
    ]


# Contents -----------------------------------------------------------------------------------------------


def _checkpoint_contents(trainer: SavedTrainer) -> tuple[dict[str, Any], Tensors]:
    """The fields and arrays of a checkpoint."""
    fields, tensors = contents(trainer.model)
    own_fields, slots = saving.contents(trainer.optimizer, trainer.model)
    callbacks, kept = _packed(trainer.saved_callbacks())
    history = {f"{_HISTORY_KEY}{name}": np.array(column) for name, column in trainer.history.items()}
    columns = list(trainer.history)
    fields["checkpoint"] = {**own_fields, "seed": trainer.seed, "columns": columns, "callbacks": callbacks}
    return fields, {**tensors, **slots, **history, **kept}


def _packed(callbacks: SavedCallbacks | None) -> tuple[list[dict[str, Any]] | None, Tensors]:
    """The field and the arrays of a checkpoint that hold the callbacks."""
    if callbacks is None:
        return None, {}
    fields: list[dict[str, Any]] = []
    tensors: Tensors = {}
    for place, (key, saved) in enumerate(callbacks.items()):
        arrays: list[NDArray[Any]] = []
        what = f"state() of {key.rpartition('.')[0]}"
        try:
            state = pack(saved.state, arrays, what)
        except RecursionError:  # also from a list that contains itself
            raise ValueError(f"{what} must be JSON-serializable; got too many levels of nesting") from None
        fields.append({"key": key, **saved._asdict(), "changed": list(saved.changed), "state": state})
        tensors |= {f"{_CALLBACK_KEY}{place}.{i}": array for i, array in enumerate(arrays)}
    return fields, tensors


def _checked(trainer: SavedTrainer, fields: dict[str, Any], tensors: Tensors) -> Moment:
    """The moment in a file, after all checks."""
    model, checkpoint = trainer.model, fields.get("checkpoint")
    if checkpoint is None:
        raise ValueError("the file must hold a trainer; got only a model: use nncore.load")
    if not isinstance(checkpoint, dict) or "columns" not in checkpoint:
        raise ValueError("the file must hold a trainer; got a model and an optimizer: use optimizer.restore")
    if without_flags(fields["graph"]) != without_flags(model.describe_graph()):
        raise ValueError("the file's model must be built like the trainer's; got another graph")
    optimizer = saving.checked(trainer.optimizer, model, checkpoint, tensors, "the trainer's")
    views = model.named_arrays()
    if own := {name for name in tensors if not name.startswith(CHECKPOINT_KEYS)} ^ views.keys():
        raise ValueError(
            f"arrays must be those of the model; got {', '.join(sorted(own))} missing or unexpected"
        )
    saving.check_arrays(tensors, views, "the trainer's")
    if checked_dtype(fields["dtype"]) != model.dtype:
        raise ValueError(f"dtype must be {model.dtype}, the model's; got {fields['dtype']}")
    callbacks, callback_arrays = _unpacked(checkpoint["callbacks"], tensors)
    columns = _checked_columns(checkpoint["columns"], tensors)
    known = callback_arrays | {f"{_HISTORY_KEY}{name}" for name in columns}
    if unknown := {name for name in tensors if name.startswith("trainer.")} ^ known:
        raise ValueError(
            f"trainer's arrays must be those of its fields; got {', '.join(sorted(unknown))} as well"
        )
    return Moment(
        {name: tensors[name] for name in views},
        optimizer,
        columns,
        checked_seed(checkpoint["seed"]),
        checked_seed(fields["seed"]),
        as_metadata(fields["metadata"]),
        check_feature_names(fields.get("feature_names", {}), model.input_names, model.input_widths),
        _checked_flags(fields["graph"]),
        callbacks,
    )


def _checked_columns(names: Any, tensors: Tensors) -> dict[str, list[float]]:
    """The columns of the history."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"columns must be a list of names; got {names!r}")
    arrays = {name: tensors[f"{_HISTORY_KEY}{name}"] for name in names}
    if len(arrays) < len(names):
        raise ValueError(f"columns must have unique names; got {names}")
    for name, array in arrays.items():
        if array.ndim != 1 or array.dtype != np.float64:
            raise ValueError(f"column {name} must be float64 (epochs,); got {array.dtype} {array.shape}")
    if len(lengths := {len(array) for array in arrays.values()}) > 1:
        raise ValueError(f"columns of the history must have the same length; got {sorted(lengths)}")
    return {name: array.tolist() for name, array in arrays.items()}


def _checked_flags(graph: Mapping[str, Any]) -> dict[str, bool]:
    """Whether each layer is trainable, by name."""
    flags = dict(trainable_flags(graph))
    if not all(type(flag) is bool for flag in flags.values()):
        raise ValueError(f"trainable must be true or false; got {flags}")
    return flags


def _unpacked(fields: Any, tensors: Tensors) -> tuple[SavedCallbacks | None, set[str]]:
    """The saved callbacks, and the names of the arrays that hold their state."""
    if fields is None:
        return None, set()
    callbacks: dict[str, SavedCallback] = {}
    names: set[str] = set()
    for place, one in enumerate(fields):
        prefix = f"{_CALLBACK_KEY}{place}."
        own = {name: array for name, array in tensors.items() if name.startswith(prefix)}
        arrays = {int(name.removeprefix(prefix)): array for name, array in own.items()}
        called, stopped, changed = one["called"], one["stopped"], one["changed"]
        if not all(isinstance(name, str) for name in (one["key"], *changed)):
            raise ValueError(f"keys and attributes of callbacks must be strings; got {one['key']!r}")
        state = unpack(one["state"], arrays)
        callbacks[one["key"]] = SavedCallback(bool(called), bool(stopped), state, changed)
        names |= own.keys()
    return callbacks, names
