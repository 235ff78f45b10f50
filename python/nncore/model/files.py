"""Files of models: safetensors, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from .._errors import check_is, check_path
from ..optimizers import Optimizer
from .making import model_of
from .model import Model

if TYPE_CHECKING:
    from .._safetensors import PathLike


def save(
    model: Model,
    path: PathLike,
    *,
    metadata: Mapping[str, Any] | None = None,
    optimizer: Optimizer | None = None,
) -> None:
    """Writes a model. `metadata` is a dict with string keys that JSON can hold; None keeps the model's own.
    With an `optimizer`, the file holds what that knows of the model too, for `Optimizer.restore`.

    The file is written beside its place, synced and renamed: it appears whole, or what was there stays.
    Saving twice gives equal bytes. Raises TypeError or ValueError for metadata that JSON cannot hold,
    IsADirectoryError or shutil.SpecialFileError where the path is no regular file, and other OSErrors where
    the disk is full or the folder cannot be written.
    """
    check_is(model, Model, "model")
    model.save(path, metadata=metadata, optimizer=optimizer)


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
    check_path(path)
    from .._safetensors import explaining, read

    fields, tensors = read(path)
    with explaining(path, fields):
        return cast(Model, model_of(fields, tensors))
