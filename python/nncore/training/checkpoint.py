"""Checkpoints: files of a model that hold a trainer's state too, from which training goes on exactly.

A checkpoint is a model's file with `optimizer.*` and `trainer.*` beside the model's arrays. `_safetensors` is
imported where a file is written or read: `import nncore` is to be quick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from operator import setitem
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from .. import _core
from .._arrays import check_feature_names
from .._errors import as_seed
from ..model import Model
from ..model.config import trainable_flags, without_flags
from ..model.contents import as_metadata, contents, explaining
from ..optimizers import Optimizer
from .callbacks import Callback, keyed
from .history import History

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._safetensors import PathLike, Tensors

_CALLBACK_KEY = "trainer.callback."


class ResumedFit(NamedTuple):
    """The fit that a checkpoint was written in: the epochs before it, and what its callbacks kept, by key."""

    first_epoch: int
    callbacks: Mapping[str, Mapping[str, NDArray[Any]]]


class SavedFit(Protocol):
    """What a checkpoint asks of a fit under way."""

    @property
    def callbacks(self) -> Sequence[Callback]:
        """Those of the fit."""

    @property
    def first_epoch(self) -> int:
        """The number of epochs before it."""


class SavedTrainer(Protocol):
    """What a checkpoint asks of a trainer."""

    model: Model
    optimizer: Optimizer
    history: History
    seed: int
    resumed: ResumedFit | None

    @property
    def running(self) -> SavedFit | None:
        """The fit under way."""

    def between_epochs(self, *, wait: bool) -> AbstractContextManager[None]:
        """No epoch begins meanwhile."""


def save_checkpoint(trainer: SavedTrainer, path: PathLike) -> None:
    """Writes a trainer's model, optimizer and history, from which `restore_checkpoint` goes on exactly."""
    from .._safetensors import write

    with trainer.between_epochs(wait=True), trainer.model.store.core.copying():
        fields, tensors = _checkpoint_contents(trainer)
    write(path, fields, tensors)


def restore_checkpoint(trainer: SavedTrainer, path: PathLike) -> None:
    """Brings a trainer, made like the one that was saved, to the state of the file. Everything is checked
    before anything is changed; ValueError names what differs.
    """
    from .._safetensors import read

    fields, tensors = read(path)
    with explaining(path, fields):
        changes = _check_checkpoint(trainer, fields, tensors)
        resumed = _resumed_fit(fields["checkpoint"], tensors)
        changes += _changes_of_settings(trainer, fields, tensors)
    with trainer.between_epochs(wait=False):
        resumed = resumed if trainer.running is None else None
        _core.call_together([*changes, partial(setattr, trainer, "resumed", resumed)])


def _checkpoint_contents(trainer: SavedTrainer) -> tuple[dict[str, Any], Tensors]:
    """The same of a trainer's file."""
    fields, tensors = contents(trainer.model)
    optimizer, running = trainer.optimizer, trainer.running
    fields["checkpoint"] = {
        "optimizer": optimizer.kind,
        "settings": optimizer.settings,
        "seed": trainer.seed,
        "random_step": trainer.model.store.core.random_step,
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


def _slots(trainer: SavedTrainer) -> Tensors:
    """Views of the optimizer's slots for the model's arrays, by the names they have in a file."""
    model, store = trainer.model, trainer.model.store
    state = trainer.optimizer.state(store)
    state.prepare_slots(trainer.optimizer.core, store.core)
    return {
        f"optimizer.{slot}.{name}": view
        for slot, flat in state.slots.items()
        for name, view in store.split(flat, model.segments).items()
    }


def _changes_of_settings(
    trainer: SavedTrainer, fields: dict[str, Any], tensors: Tensors
) -> list[_core.Change]:
    """What a restored trainer takes over beside its arrays."""
    model, checkpoint = trainer.model, fields["checkpoint"]
    columns = {name: tensors[f"trainer.history.{name}"].tolist() for name in checkpoint["columns"]}
    names = check_feature_names(fields.get("feature_names", {}), model.input_names, model.input_widths)
    steps = int(tensors["optimizer.steps"])
    layers = {name: layer for layer, name in model.names.items()}
    return [
        partial(setattr, trainer.optimizer.state(model.store), "steps", steps),
        partial(setattr, trainer, "seed", checkpoint["seed"]),
        *trainer.history.changes_to(columns, checkpoint["seed"]),
        *trainer.optimizer.changes_to(checkpoint["settings"]),
        partial(setattr, model.store.core, "seed", fields["seed"]),
        partial(setattr, model.store.core, "random_step", checkpoint["random_step"]),
        partial(setattr, model, "metadata", dict(fields["metadata"])),
        partial(setattr, model.reader, "feature_names", names),
        *(
            change
            for name, trainable in trainable_flags(fields["graph"])
            for change in layers[name].trainable_changes(trainable)
        ),
    ]


def _check_checkpoint(trainer: SavedTrainer, fields: dict[str, Any], tensors: Tensors) -> list[_core.Change]:
    """Everything that could be wrong; returns what gives the arrays their values, while nobody uses them."""
    if "checkpoint" not in fields:
        raise ValueError("the file must hold a trainer; got a model alone: use nncore.load")
    checkpoint, model, optimizer = fields["checkpoint"], trainer.model, trainer.optimizer
    if without_flags(fields["graph"]) != without_flags(model.describe_graph()):
        raise ValueError("the file's model must be built like the trainer's; got another graph")
    if checkpoint["optimizer"] != optimizer.kind:
        raise ValueError(f"optimizer must be {optimizer.kind}, the trainer's; got {checkpoint['optimizer']}")
    if set(checkpoint["settings"]) != set(optimizer.settings):
        raise ValueError(
            f"settings must be {sorted(optimizer.settings)}, as the trainer's optimizer has; "
            f"got {sorted(checkpoint['settings'])}"
        )
    as_seed(checkpoint["seed"])
    as_seed(fields["seed"])
    as_metadata(fields["metadata"])
    for name, trainable in trainable_flags(fields["graph"]):
        if not isinstance(trainable, bool):
            raise ValueError(f"trainable of layer {name} must be true or false; got {trainable!r}")
    random_step = checkpoint["random_step"]
    if type(random_step) is not int or not 0 <= random_step < 2**64:
        raise ValueError(f"random_step must be an integer in [0, 2^64); got {random_step!r}")
    steps = tensors["optimizer.steps"]
    if steps.shape != () or steps.dtype.kind not in "iu" or not 0 <= int(steps) < 2**53:
        raise ValueError(f"optimizer.steps must be one integer in [0, 2^53); got {steps}")
    lengths = {tensors[f"trainer.history.{name}"].shape for name in checkpoint["columns"]}
    if len(lengths) > 1:
        raise ValueError(f"columns of the history must have one length; got {sorted(lengths)}")
    slots = _slots(trainer)
    kept = {name for name in tensors if name.startswith("optimizer.")} - {"optimizer.steps"}
    if kept != slots.keys():
        raise ValueError(
            f"the optimizer's slots must be {', '.join(sorted(slots)) or 'none'}; "
            f"got {', '.join(sorted(kept)) or 'none'}"
        )
    views = {**model.named_arrays(), **slots}
    for name, view in views.items():
        if tensors[name].shape != view.shape or tensors[name].dtype != view.dtype:
            raise ValueError(
                f"{name} must be {view.dtype} {view.shape}, as the trainer's; "
                f"got {tensors[name].dtype} {tensors[name].shape}"
            )
    guard = model.store.core.changing()
    writes = [partial(setitem, view, ..., tensors[name]) for name, view in views.items()]
    return [guard.__enter__, *writes, partial(guard.__exit__, None, None, None)]
