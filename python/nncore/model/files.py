"""Saving models to safetensors files and loading them. A write is atomic."""

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
    """Saves a model to a safetensors file.

    `metadata` is a JSON-serializable dict with string keys; None keeps the model's own. With an `optimizer`,
    the file also holds that optimizer's state for the model, for `Optimizer.restore`.

    The write is atomic: a temporary file is written, synced and renamed, so a failure leaves the old file.
    Saving twice gives equal bytes.

    Raises TypeError or ValueError for metadata that is not JSON-serializable, IsADirectoryError for a folder,
    shutil.SpecialFileError (an OSError) for a FIFO, socket or device, and other OSErrors if the disk is full
    or the folder is not writable.
    """
    check_is(model, Model, "model")
    model.save(path, metadata=metadata, optimizer=optimizer)


def load(path: PathLike) -> Model:
    """Loads a model from a file written by `save`, `Trainer.save` or a Checkpoint.

    Its seed, metadata and feature names are the saved ones.

    Raises FileNotFoundError, IsADirectoryError for a folder, shutil.SpecialFileError (an OSError) for a FIFO,
    socket or device, and ValueError, naming the path, for a file that is truncated, altered, not written by
    nncore, or of an unsupported version.

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
