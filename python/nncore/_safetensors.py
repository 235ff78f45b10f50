"""Named arrays and fields in one safetensors file, written whole or not at all.

The fields are one JSON string under the single metadata key "nncore": the library writes several keys in
random order, and with one, equal contents are equal bytes. This module adds the versions of the format, and
a SHA-256 of everything, so that an altered file is noticed.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from . import _core

FORMAT_VERSION = (1, 0)  # a new major version is one that older readers cannot understand
LEAST_READER_VERSION = "0.1.0"  # the first nncore that reads what this one writes
OWN_FIELDS = ("format_version", "least_reader_version", "writer_version", "sha256")

_KINDS = (
    (stat.S_ISDIR, "folder"),
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISBLK, "block device"),
    (stat.S_ISCHR, "character device"),
)

PathLike: TypeAlias = str | os.PathLike[str]
Tensors: TypeAlias = dict[str, NDArray[Any]]


def write(path: PathLike, fields: Mapping[str, Any], tensors: Tensors) -> None:
    """Writes a file beside its place, syncs it and renames it; what fails leaves what was there.

    Raises IsADirectoryError or shutil.SpecialFileError where the path is there, but is no regular file.
    """
    with suppress(FileNotFoundError):  # a new name, or a link to one
        _check_regular(path, "a regular file or a new name")
    all_fields = {
        **fields,
        "format_version": ".".join(map(str, FORMAT_VERSION)),
        "least_reader_version": LEAST_READER_VERSION,
        "writer_version": _core.__version__,
    }
    all_fields["sha256"] = _digest(all_fields, tensors)
    contents = to_bytes(tensors, metadata={"nncore": _json(all_fields)})
    target = Path(os.path.realpath(path))  # through a link, to the file that it names
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


def read(path: PathLike) -> tuple[dict[str, Any], Tensors]:
    """The fields and arrays of a file that is whole, unaltered and of a version that can be read.

    Raises FileNotFoundError, IsADirectoryError or shutil.SpecialFileError where the path is no regular file,
    and ValueError, naming the path, for any other file.
    """
    _check_regular(path, "a regular file")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("nncore")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, TypeError, ValueError) as error:
        raise ValueError(f"path must be a whole safetensors file; got {os.fspath(path)}: {error}") from error
    fields = _parse(path, text)
    _check_version(path, fields)
    if fields.get("sha256") != _digest(fields, tensors):
        raise ValueError(
            f"path must be a file that nobody altered; got {os.fspath(path)}, whose checksum differs"
        )
    return fields, tensors


def versions(fields: Mapping[str, Any]) -> str:
    """What a message says about a file's versions and this library's."""
    return (
        f"format {fields['format_version']}, written by nncore {fields.get('writer_version')}, needs nncore "
        f"{fields['least_reader_version']} or later; this is {_core.__version__}"
    )


def _check_regular(path: PathLike, allowed: str) -> None:
    """Refuses what is there and is no regular file: to rename a file over a device would put an end to the
    device, and who reads a FIFO may wait forever. Links are followed.
    """
    mode = Path(path).stat().st_mode
    if stat.S_ISREG(mode):
        return
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "special file")
    error = IsADirectoryError if stat.S_ISDIR(mode) else shutil.SpecialFileError
    raise error(f"path must be {allowed}; got a {kind}: {os.fspath(path)}")


def _parse(path: PathLike, text: str | None) -> dict[str, Any]:
    if text is None:
        raise ValueError(
            f"path must be a file that nncore wrote; got {os.fspath(path)}, without 'nncore' in its metadata"
        )
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise ValueError(f"path must have JSON as metadata; got {os.fspath(path)}: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"path must have a JSON object as metadata; got {os.fspath(path)}, which has none")
    return fields


def _check_version(path: PathLike, fields: Mapping[str, Any]) -> None:
    try:
        major, *_ = _numbers(fields["format_version"])
        least_reader = _numbers(fields["least_reader_version"])
    except (KeyError, ValueError):
        raise ValueError(
            f"path must be a file that tells its format version; got {os.fspath(path)}"
        ) from None
    if major != FORMAT_VERSION[0] or least_reader > _numbers(_core.__version__):
        raise ValueError(f"path must be a file for this version; got {os.fspath(path)}: {versions(fields)}")


def _numbers(version: object) -> tuple[int, ...]:
    return tuple(int(part) for part in str(version).split("."))


def _digest(fields: Mapping[str, Any], tensors: Tensors) -> str:
    digest = sha256(_json({name: value for name, value in fields.items() if name != "sha256"}).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def _json(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _sync_folder(folder: Path) -> None:
    """Makes the new name itself durable, where folders can be opened."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
