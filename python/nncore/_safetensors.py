"""Reads and writes named arrays and fields in one safetensors file. A write is atomic.

The fields are one JSON string under the single metadata key "nncore": the safetensors library writes several
keys in random order, whereas with one key, equal contents give equal bytes. This module adds the format
version and a SHA-256 of everything, which detects altered files.

Files are read rather than memory-mapped: if another program truncated a mapped file, this one would crash.
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

FORMAT_VERSION = (1, 0)  # older readers cannot read a new major version
LEAST_READER_VERSION = "0.1.0"  # the first nncore that can read the files that this one writes
OWN_FIELDS = ("format_version", "least_reader_version", "writer_version", "sha256")

_KINDS = (
    (stat.S_ISDIR, "folder"),
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISBLK, "block device"),
    (stat.S_ISCHR, "character device"),
)

#: The dtypes of safetensors that can be read, and NumPy's names for them.
_DTYPES = {
    "BOOL": "?",
    **{f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}

#: The errors of file systems that do not support a request.
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
_LONGEST_HEADER = 100_000_000  # bytes; the safetensors library has the same limit
_LONGEST_STEM = 200  # bytes; a file name has at most 255

PathLike: TypeAlias = str | os.PathLike[str]
Tensors: TypeAlias = dict[str, NDArray[Any]]


def write(path: PathLike, fields: Mapping[str, Any], tensors: Tensors) -> None:
    """Writes a temporary file in the same folder, syncs it and renames it to `path`.

    A failed write leaves the old file in place. Temporary files that killed programs left for the same path
    are removed. Syncing, locking and permissions are skipped where the file system does not support them.

    Raises IsADirectoryError or shutil.SpecialFileError if the path exists but is not a regular file, and
    OSError with the path if the file cannot be written.
    """
    from safetensors.numpy import save as to_bytes

    with suppress(FileNotFoundError):  # a new file, or a link to one
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
        raise ValueError("metadata must be JSON-serializable; got too many levels of nesting") from None
    target = Path(os.path.realpath(path))  # the target of a link, not the link itself
    with _naming(path):
        _remove_stale(target)
        _put_in_place(contents, target)
    _sync_folder(target.parent)


def read(path: PathLike) -> tuple[dict[str, Any], Tensors]:
    """The fields and arrays of a complete, unaltered file of a supported version.

    Raises FileNotFoundError, IsADirectoryError or shutil.SpecialFileError if the path is not a regular file,
    OSError if it cannot be read, and ValueError, naming the path, for any other file.
    """
    _check_regular(path, Path(path).stat(), "a regular file")  # opening some devices changes their state
    with _naming(path), open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        _check_regular(path, status, "a regular file")
        try:
            text, tensors = _read_tensors(file, status.st_size)
        except (RecursionError, ValueError) as error:
            raise ValueError(
                f"path must be a complete safetensors file; got {os.fspath(path)}: {error}"
            ) from error
    fields = _parse(path, text)
    _check_version(path, fields)
    try:
        is_unaltered = fields.get("sha256") == _digest(fields, tensors)
    except (RecursionError, ValueError):  # contents that `write` rejects: infinities, lone surrogates
        is_unaltered = False
    if not is_unaltered:
        raise ValueError(f"path must be an unaltered file; got {os.fspath(path)}, whose checksum differs")
    return fields, tensors


def versions(fields: Mapping[str, Any]) -> str:
    """The versions of a file and of this library, for messages."""
    writer = fields.get("writer_version")
    known = writer if isinstance(writer, str) else "of an unknown version"
    return (
        f"format {fields['format_version']}, written by nncore {known}, needs nncore "
        f"{fields['least_reader_version']} or later; this is {_core.__version__}"
    )


@contextmanager
def explaining(path: PathLike, fields: Mapping[str, Any]) -> Iterator[None]:
    """Adds the path and the versions of a file to any error that its contents cause."""
    try:
        yield
    except KeyError as error:
        raise ValueError(
            f"path must be a file with the key {error}; got {os.fspath(path)} ({versions(fields)})"
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
            f"path must be a compatible file; got {os.fspath(path)}: {error} ({versions(fields)})"
        ) from error


# Reading ------------------------------------------------------------------------------------------------


def _check_regular(path: PathLike, status: os.stat_result, allowed: str) -> None:
    """Rejects anything but a regular file or a link to one: renaming a file over a device would destroy the
    device, and reading a FIFO may block forever.
    """
    mode = status.st_mode
    if stat.S_ISREG(mode):
        return
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "special file")
    error = IsADirectoryError if stat.S_ISDIR(mode) else shutil.SpecialFileError
    raise error(f"path must be {allowed}; got a {kind}: {os.fspath(path)}")


def _open_at_once(path: str, flags: int) -> int:
    """Opens a file without blocking, even if a FIFO has taken its place since the check."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class _Entry(NamedTuple):
    """An array's place after the header of a file, in bytes, and its type."""

    begin: int
    end: int
    name: str
    dtype: np.dtype[Any]
    shape: list[int]


def _read_tensors(file: BinaryIO, size: int) -> tuple[str | None, Tensors]:
    """The text of the fields, and the arrays, of a file of `size` bytes.

    Raises ValueError or RecursionError if it is not a safetensors file.
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
            raise ValueError(f"{entry.name!r} must begin at byte {end}, without a gap; got {entry.begin}")
        end = entry.end
    if end != size - 8 - length:
        raise ValueError(f"the arrays must fill the {size - 8 - length} bytes of the file; got {end}")
    data = np.empty(end, np.uint8)
    if file.readinto(data.data) != end:  # type: ignore[attr-defined]  # BufferedReader has it
        raise ValueError(f"the file must not change while it is read; got fewer than {end} bytes")
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
            f"path must be a file written by nncore; got {os.fspath(path)}, whose metadata lacks 'nncore'"
        )
    try:
        fields = _loads(text)
    except (RecursionError, ValueError) as error:
        raise ValueError(f"path must be a file with JSON metadata; got {os.fspath(path)}: {error}") from error
    if not isinstance(fields, dict):
        kind = type(fields).__name__
        raise ValueError(f"path must have a JSON object as metadata; got {os.fspath(path)}, with a {kind}")
    return fields


def _loads(text: str) -> Any:
    """Parses strict JSON: NaN and infinities, and repeated keys in an object, raise ValueError."""
    return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"numbers must be finite; got {name}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the keys of an object must be unique; got {repeated!r} twice")
    return found


def _check_version(path: PathLike, fields: Mapping[str, Any]) -> None:
    try:
        major, *_ = _numbers(fields["format_version"])
        least_reader = _numbers(fields["least_reader_version"])
    except (KeyError, ValueError):
        raise ValueError(
            f"path must be a file that states its format version; got {os.fspath(path)}"
        ) from None
    if major != FORMAT_VERSION[0] or least_reader > _numbers(_core.__version__):
        raise ValueError(f"path must be of a supported version; got {os.fspath(path)}: {versions(fields)}")


def _numbers(version: object) -> tuple[int, ...]:
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise ValueError(f"a version must be numbers separated by dots; got {version!r}")
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
    """Makes system errors name the path that the user gave, not the temporary file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _stem(target: Path) -> str:
    """The part of the target's name that its temporary files share."""
    name = os.fsencode(target.name)
    return target.name if len(name) <= _LONGEST_STEM else sha256(name).hexdigest()


def _put_in_place(contents: bytes, target: Path) -> None:
    """Writes a temporary file and renames it to `target`. The lock shows that its writer is alive."""
    temporary, file = _create_beside(target)
    try:
        if target.exists():  # set permissions first, so that nobody reads what they must not
            with _best_effort():
                shutil.copymode(target, temporary)
        file.write(contents)
        file.flush()
        with _best_effort():
            os.fsync(file.fileno())
        if os.name == "nt":  # Windows cannot rename an open file
            file.close()
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        with suppress(OSError):  # everything was flushed before
            file.close()


def _create_beside(target: Path) -> tuple[Path, BinaryIO]:
    """A new temporary file in the target's folder, locked where the file system supports that."""
    while True:
        temporary = target.with_name(f".{_stem(target)}.{os.urandom(6).hex()}.tmp")
        file = temporary.open("xb")
        if _lock(file.fileno()):
            return temporary, file
        file.close()
        temporary.unlink(missing_ok=True)


def _lock(descriptor: int) -> bool:
    """Locks a new file, so that nobody takes it for stale. False if another process already did."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks, where `_remove_stale` removes nothing either
        return True
    return os.fstat(descriptor).st_nlink > 0


def _remove_stale(target: Path) -> None:
    """Removes temporary files that killed programs left: those that nobody has locked."""
    if fcntl is None:
        return
    temporary = re.compile(rf"\.{re.escape(_stem(target))}\.[0-9a-f]{{12}}\.tmp")
    with suppress(OSError):  # a folder that cannot be listed
        for name in _file_names(target.parent):
            if temporary.fullmatch(name):
                _remove_unlocked(target.with_name(name))


def _file_names(folder: Path) -> Iterable[str]:
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
    """Ignores requests that the file system does not support. Other errors, such as a full disk, pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def _sync_folder(folder: Path) -> None:
    """Makes the rename durable, where folders can be opened. The file is in place even if this fails."""
    if os.name == "nt":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
