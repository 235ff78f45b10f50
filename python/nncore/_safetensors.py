"""Named arrays and fields in one safetensors file, written whole or not at all.

The fields are one JSON string under the single metadata key "nncore": the library writes several keys in
random order, and with one, equal contents are equal bytes. This module adds the versions of the format, and
a SHA-256 of everything, so that an altered file is noticed.

A file is read, not mapped into memory: a program that truncated a mapped file would end this one.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _core

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

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

#: The dtypes of safetensors that are read.
_DTYPES = {
    "BOOL": "?",
    **{f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}

#: What a file system says of a request that it does not know.
_UNSUPPORTED = {
    errno.EACCES,
    errno.EINVAL,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.ENOTTY,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.EROFS,
}

_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})*")
_LONGEST_HEADER = 100_000_000  # bytes, as the library of safetensors has it
_LONGEST_STEM = 200  # bytes; the name of a file has 255 at most

PathLike: TypeAlias = str | os.PathLike[str]
Tensors: TypeAlias = dict[str, NDArray[Any]]


def write(path: PathLike, fields: Mapping[str, Any], tensors: Tensors) -> None:
    """Writes a file beside its place, syncs it and renames it; what fails leaves what was there. What killed
    programs left of their saves to the same place is removed.

    Raises IsADirectoryError or shutil.SpecialFileError where the path is there, but is no regular file, and
    OSError with the path where the file cannot be written. A mount that cannot sync, lock or set permissions
    goes without.
    """
    from safetensors.numpy import save as to_bytes

    with suppress(FileNotFoundError):  # a new name, or a link to one
        _check_regular(path, Path(path).stat(), "a regular file or a new name")
    all_fields = {
        **fields,
        "format_version": ".".join(map(str, FORMAT_VERSION)),
        "least_reader_version": LEAST_READER_VERSION,
        "writer_version": _core.__version__,
    }
    try:
        all_fields["sha256"] = _digest(all_fields, tensors)
        contents = to_bytes(tensors, metadata={"nncore": _json(all_fields)})
    except RecursionError:
        raise ValueError("metadata must be what JSON can hold; got too many levels") from None
    target = Path(os.path.realpath(path))  # through a link, to the file that it names
    with _naming(path):
        _remove_litter(target)
        _put_in_place(contents, target)
    _sync_folder(target.parent)


def read(path: PathLike) -> tuple[dict[str, Any], Tensors]:
    """The fields and arrays of a file that is whole, unaltered and of a version that can be read.

    Raises FileNotFoundError, IsADirectoryError or shutil.SpecialFileError where the path is no regular file,
    OSError where it cannot be read, and ValueError, naming the path, for any other file.
    """
    _check_regular(path, Path(path).stat(), "a regular file")  # to open some devices changes them
    with _naming(path), open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        _check_regular(path, status, "a regular file")
        try:
            text, tensors = _read_tensors(file, status.st_size)
        except (RecursionError, ValueError) as error:
            raise ValueError(
                f"path must be a whole safetensors file; got {os.fspath(path)}: {error}"
            ) from error
    fields = _parse(path, text)
    _check_version(path, fields)
    try:
        is_unaltered = fields.get("sha256") == _digest(fields, tensors)
    except (RecursionError, ValueError):  # what `write` refuses: infinity, halves of characters
        is_unaltered = False
    if not is_unaltered:
        raise ValueError(
            f"path must be a file that nobody altered; got {os.fspath(path)}, whose checksum differs"
        )
    return fields, tensors


def versions(fields: Mapping[str, Any]) -> str:
    """What a message says about a file's versions and this library's."""
    writer = fields.get("writer_version")
    known = writer if isinstance(writer, str) else "of an unknown version"
    return (
        f"format {fields['format_version']}, written by nncore {known}, needs nncore "
        f"{fields['least_reader_version']} or later; this is {_core.__version__}"
    )


@contextmanager
def explaining(path: PathLike, fields: Mapping[str, Any]) -> Iterator[None]:
    """Says of any complaint about a file's contents which file it is and what could read it."""
    try:
        yield
    except KeyError as error:
        raise ValueError(
            f"path must be a file that has {error}; got {os.fspath(path)} ({versions(fields)})"
        ) from error
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"path must be a file that fits; got {os.fspath(path)}: {error} ({versions(fields)})"
        ) from error


# Reading ------------------------------------------------------------------------------------------------


def _check_regular(path: PathLike, status: os.stat_result, allowed: str) -> None:
    """Refuses what is there and is no regular file: to rename a file over a device would put an end to the
    device, and who reads a FIFO may wait forever. Links are followed.
    """
    mode = status.st_mode
    if stat.S_ISREG(mode):
        return
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "special file")
    error = IsADirectoryError if stat.S_ISDIR(mode) else shutil.SpecialFileError
    raise error(f"path must be {allowed}; got a {kind}: {os.fspath(path)}")


def _open_at_once(path: str, flags: int) -> int:
    """Does not wait for who writes to a FIFO, which may have taken the place of a file."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class _Entry(NamedTuple):
    """Where an array lies behind the header of a file."""

    begin: int
    end: int
    name: str
    dtype: np.dtype[Any]
    shape: list[int]


def _read_tensors(file: BinaryIO, size: int) -> tuple[str | None, Tensors]:
    """Reads the text of the fields, and the arrays, of a file of a known size. Raises ValueError or
    RecursionError unless the file is a safetensors file.
    """
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise ValueError(f"the header must fit in {size} bytes; got one of {length} bytes")
    if length > _LONGEST_HEADER:
        raise ValueError(f"the header must have at most {_LONGEST_HEADER} bytes; got {length}")
    header = _loads(file.read(length).decode())
    if not isinstance(header, dict):
        raise ValueError(f"the header must be a JSON object; got {type(header).__name__}")
    metadata = header.pop("__metadata__", None) or {}
    text = metadata.get("nncore") if isinstance(metadata, dict) else None
    if text is not None and not isinstance(text, str):
        raise ValueError(f"the metadata must be strings; got {type(text).__name__}")
    entries = sorted(_entry(name, described) for name, described in header.items())
    end = 0
    for entry in entries:
        if entry.begin != end:
            raise ValueError(f"{entry.name!r} must begin at byte {end}, the next one; got {entry.begin}")
        end = entry.end
    if end != size - 8 - length:
        raise ValueError(f"the arrays must have {size - 8 - length} bytes, as the file has; got {end}")
    data = np.empty(end, np.uint8)
    if file.readinto(data.data) != end:  # type: ignore[attr-defined]  # BufferedReader has it
        raise ValueError(f"the file must stay as it is while it is read; got less than {end} bytes")
    return text, {entry.name: _array(data, entry) for entry in entries}


def _entry(name: str, described: Any) -> _Entry:
    try:
        dtype, shape, (begin, end) = (described[key] for key in ("dtype", "shape", "data_offsets"))
        numbers = [*shape, begin, end]
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{name!r} must have dtype, shape and data_offsets; got {type(described).__name__}"
        ) from None
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(f"sizes and offsets of {name!r} must be integers of at least 0; got {numbers}")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(f"dtype of {name!r} must be one of {', '.join(_DTYPES)}; got {dtype!r}")
    own = np.dtype(_DTYPES[dtype])
    if end - begin != math.prod(shape) * own.itemsize:
        raise ValueError(f"{name!r} must have the bytes of {dtype} {shape}; got {end - begin}")
    return _Entry(begin, end, name, own, shape)


def _array(data: NDArray[np.uint8], entry: _Entry) -> NDArray[Any]:
    array = data[entry.begin : entry.end].view(entry.dtype).reshape(entry.shape)
    return np.require(array, entry.dtype.newbyteorder("="), "A")


def _parse(path: PathLike, text: str | None) -> dict[str, Any]:
    if text is None:
        raise ValueError(
            f"path must be a file that nncore wrote; got {os.fspath(path)}, without 'nncore' in its metadata"
        )
    try:
        fields = _loads(text)
    except (RecursionError, ValueError) as error:
        raise ValueError(f"path must have JSON as metadata; got {os.fspath(path)}: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"path must have a JSON object as metadata; got {os.fspath(path)}, which has none")
    return fields


def _loads(text: str) -> Any:
    """JSON as its standard has it: without NaN, and with each key once in an object."""
    return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"numbers must be finite; got {name}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the keys of an object must differ; got {twice!r} twice")
    return found


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
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise ValueError(f"a version must be numbers with dots between them; got {version!r}")
    return tuple(map(int, version.split(".")))


def _digest(fields: Mapping[str, Any], tensors: Tensors) -> str:
    digest = sha256(_json({name: value for name, value in fields.items() if name != "sha256"}).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def _json(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)


# Writing ------------------------------------------------------------------------------------------------


@contextmanager
def _naming(path: PathLike) -> Iterator[None]:
    """Errors of the system name the path that the user gave, not the file beside it."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _stem(target: Path) -> str:
    """How the names of the files begin that are written beside it."""
    name = os.fsencode(target.name)
    return target.name if len(name) <= _LONGEST_STEM else sha256(name).hexdigest()


def _put_in_place(contents: bytes, target: Path) -> None:
    """Writes a file beside its place and renames it. The file is locked while its writer lives."""
    temporary, file = _create_beside(target)
    try:
        if target.exists():  # before anything is in it that others must not read
            with _best_effort():
                shutil.copymode(target, temporary)
        file.write(contents)
        file.flush()
        with _best_effort():
            os.fsync(file.fileno())
        if os.name == "nt":  # where no open file is renamed
            file.close()
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        with suppress(OSError):  # all was flushed
            file.close()


def _create_beside(target: Path) -> tuple[Path, BinaryIO]:
    """A new file, which is locked where the file system has locks: then it is no litter."""
    while True:
        temporary = target.with_name(f".{_stem(target)}.{os.urandom(6).hex()}.tmp")
        file = temporary.open("xb")
        if _is_ours(file.fileno()):
            return temporary, file
        file.close()
        temporary.unlink(missing_ok=True)


def _is_ours(descriptor: int) -> bool:
    """Locks a new file, which is no litter then; False where somebody took it for litter before."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks, where nobody looks for litter either
        return True
    return os.fstat(descriptor).st_nlink > 0


def _remove_litter(target: Path) -> None:
    """Removes what killed programs left beside it: files that nobody has locked."""
    if fcntl is None:
        return
    litter = re.compile(rf"\.{re.escape(_stem(target))}\.[0-9a-f]{{12}}\.tmp")
    with suppress(OSError):  # a folder that cannot be listed
        for name in _names(target.parent):
            if litter.fullmatch(name):
                _remove_unlocked(target.with_name(name))


def _names(folder: Path) -> Iterable[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]


def _remove_unlocked(path: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(descriptor)


@contextmanager
def _best_effort() -> Iterator[None]:
    """What the file system does not know is left out; disks that are full or broken are errors."""
    try:
        yield
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def _sync_folder(folder: Path) -> None:
    """Makes the new name itself durable, where folders can be opened. The file is in its place whatever
    happens here.
    """
    if os.name == "nt":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
