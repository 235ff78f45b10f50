"""Invalid and crafted files raise an error that names the path, and change nothing."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import nncore as nc
from nncore import _safetensors

X, Y = np.random.default_rng(0).standard_normal((6, 3)), np.arange(6) % 2


def trainer() -> nc.Trainer:
    return nc.Trainer(nc.mlp([3, 4, 2], output="softmax", seed=0), "cross_entropy", nc.Adam(1e-2))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint after two epochs."""
    saved = trainer()
    path = tmp_path / "strange.safetensors"
    saved.fit(X, Y, epochs=2, validation_data=(X, Y), progress=False, callbacks=[nc.EarlyStopping(5)])
    saved.save(path)
    return path


def fields_of(path: Path) -> Any:
    header = path.read_bytes()[8:]
    return json.loads(
        json.JSONDecoder().raw_decode(header.decode(errors="replace"))[0]["__metadata__"]["nncore"]
    )


def write_text(path: Path, text: str) -> None:
    save_file(load_file(path), path, metadata={"nncore": text})


def sign(path: Path, fields: dict[str, Any], tensors: dict[str, Any] | None = None) -> None:
    """Writes a file with a valid checksum."""
    tensors = load_file(path) if tensors is None else tensors
    fields = {**fields, "sha256": _safetensors._digest(fields, tensors)}
    save_file(tensors, path, metadata={"nncore": json.dumps(fields)})


def write_header(path: Path, header: Any, data: bytes = b"") -> None:
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


# JSON ---------------------------------------------------------------------------------------------------

TEXTS = {
    "lists within lists": "[" * 100_000 + "]" * 100_000,
    "objects within objects": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "lists that do not end": "[" * 100_000,
    "NaN": '{"a": NaN}',
    "infinity": '{"a": [-Infinity]}',
    "a number beyond float64": '{"a": 1e400, "format_version": "1.0", "least_reader_version": "0.1.0"}',
    "a writer of many levels": '{"format_version": "2.0", "least_reader_version": "0.1.0", "writer_version": '
    + "[" * 900
    + "]" * 900
    + "}",
    "an integer of 5000 digits": '{"a": ' + "9" * 5000 + "}",
    "a key twice": '{"a": 1, "a": 2}',
    "a key twice within": '{"b": [{"a": 1, "a": 1}]}',
    "a version of 5000 digits": '{"format_version": "1.0", "least_reader_version": "' + "9" * 5000 + '"}',
    "a version in other digits": '{"format_version": "\\u0661.0", "least_reader_version": "0.1.0"}',
    "a version with spaces": '{"format_version": " 1_ 0 . 0", "least_reader_version": "0.1.0"}',
    "a version that is a list": '{"format_version": [1], "least_reader_version": "0.1.0"}',
    "a string": '"1.0"',
    "nothing": "",
}


@pytest.mark.parametrize("name", TEXTS)
def test_strange_json(path: Path, name: str) -> None:
    write_text(path, TEXTS[name])
    with pytest.raises(ValueError, match=r"^path must .*strange\.safetensors"):
        nc.load(path)
    with pytest.raises(ValueError, match=r"^path must .*strange\.safetensors"):
        trainer().restore(path)


HEADERS: dict[str, tuple[Any, bytes]] = {
    "lists within lists": ("[" * 100_000, b""),
    "a list": ([], b""),
    "a number as an entry": ({"a": 1}, b""),
    "no offsets": ({"a": {"dtype": "F32", "shape": [1]}}, b""),
    "offsets that are words": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]}}, bytes(4)),
    "offsets below 0": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, bytes(4)),
    "a shape of 2^62": ({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}}, b""),
    "too many bytes": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(8)),
    "too few bytes": ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(4)),
    "another shape": ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)),
    "a gap": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)),
    "bytes of two": (
        {n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"},
        bytes(4),
    ),
    "a dtype of words": ({"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "metadata that are a list": ({"__metadata__": ["nncore"]}, b""),
    "metadata that are numbers": ({"__metadata__": {"nncore": 1}}, b""),
    "half a character as a name": (
        {
            "__metadata__": {"nncore": '{"format_version": "1.0", "least_reader_version": "0.1.0"}'},
            "\ud800": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]},
        },
        b"",
    ),
    **{
        f"dtype {dtype}": (
            {"a": {"dtype": dtype, "shape": [8], "data_offsets": [0, 8 * size]}},
            bytes(8 * size),
        )
        for dtype, size in {"BF16": 2, "F8_E4M3": 1, "C64": 8, "F128": 16, "float32": 4, "": 4}.items()
    },
}


@pytest.mark.parametrize("name", HEADERS)
def test_strange_headers(path: Path, name: str) -> None:
    write_header(path, *HEADERS[name])
    with pytest.raises(ValueError, match=r"^path must .*strange\.safetensors"):
        nc.load(path)


def test_a_header_that_is_longer_than_the_file(path: Path) -> None:
    for length in (2**64 - 1, 2**63, 10**9, 100):
        path.write_bytes(length.to_bytes(8, "little") + b"{}")
        with pytest.raises(ValueError, match=rf"the header must fit in 10 bytes; got one of {length} bytes"):
            nc.load(path)


def test_a_header_of_many_gigabytes_is_not_read(path: Path) -> None:
    with path.open("wb") as file:
        file.write((10**12).to_bytes(8, "little"))
        file.truncate(2 * 10**12)  # a sparse file, which takes no space on the disk
    with pytest.raises(ValueError, match=r"the header must have at most 100000000 bytes; got 1000000000000"):
        nc.load(path)


def test_metadata_of_too_many_levels_are_not_written(path: Path) -> None:
    before, deep = path.read_bytes(), {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ValueError, match="metadata must be JSON-serializable; got"):
        nc.mlp([2, 1]).save(path, metadata=deep)
    assert path.read_bytes() == before
    while deep:  # freed from the outside in, without deep recursion
        deep = deep["a"]


# Fields and arrays that do not fit a model ---------------------------------------------------------------


def nodes(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], None]:
    return lambda fields: change(fields["graph"]) and None


FIELDS: dict[str, Callable[[dict[str, Any]], object]] = {
    "an input before the first": nodes(lambda graph: graph["nodes"][1].update(inputs=[-1])),
    "an output before the first": nodes(lambda graph: graph.update(sequential=False, outputs=[-1])),
    "an input that is itself": nodes(lambda graph: graph["nodes"][1].update(inputs=[1])),
    "a flag that is a word": nodes(lambda graph: graph["layers"]["0"].update(trainable="no")),
    "a bias that is a word": nodes(lambda graph: graph["layers"]["0"].update(bias="no")),
    "a layer that is a list": nodes(lambda graph: graph["layers"].update({"0": []})),
    "layers that are a list": nodes(lambda graph: graph.update(layers=[])),
    "a graph that is a number": lambda fields: fields.update(graph=3),
    "a seed that is true": lambda fields: fields.update(seed=True),
    "a seed that is nothing": lambda fields: fields.update(seed=None),
    "a seed of 65 bits": lambda fields: fields.update(seed=2**64),
    "a dtype that NumPy knows": lambda fields: fields.update(dtype="f4"),
    "no dtype": lambda fields: fields.update(dtype=None),
    "metadata that are pairs": lambda fields: fields.update(metadata=[["a", 1]]),
    "metadata that are nothing": lambda fields: fields.update(metadata=None),
    "names of columns that are a number": lambda fields: fields.update(feature_names=3),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_that_fit_no_model(path: Path, name: str) -> None:
    fields = fields_of(path)
    FIELDS[name](fields)
    sign(path, fields)
    with pytest.raises(
        ValueError,
        match=r"^path must be a (compatible file|file with the key .*); got .*strange\.safetensors",
    ):
        nc.load(path)


def test_a_long_chain_of_references_is_no_deep_recursion(path: Path) -> None:
    fields = fields_of(path)
    names = [f"m{i}" for i in range(20_000)]
    inner = {
        name: {"kind": "model", "layers": [["0", other]], "nodes": [], "outputs": []}
        for name, other in zip(names, [*names[1:], "0"], strict=True)
    }
    fields["graph"]["layers"] |= inner
    sign(path, fields)
    with pytest.raises(ValueError, match=r"^path must be a compatible file; .*strange\.safetensors"):
        nc.load(path)


# Files that change or cannot be opened -------------------------------------------------------------------


def test_a_file_that_is_copied_over_meanwhile_is_no_crash(path: Path) -> None:
    """A memory-mapped file that shrinks would end the program with SIGBUS."""
    program = """
import shutil, sys, threading
import nncore as nc
path = sys.argv[1]
nc.mlp([700, 700], seed=0).save(path)
shutil.copy(path, path + ".source")
def copy():
    for _ in range(150):
        shutil.copyfile(path + ".source", path)
thread = threading.Thread(target=copy)
thread.start()
read = refused = 0
while thread.is_alive():
    try:
        read += nc.load(path).parameters.size == 490700
    except ValueError as error:
        assert path in str(error), error
        refused += 1
thread.join()
print(read + refused > 0, nc.load(path).seed)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True 0\n", "")


def test_a_fifo_that_takes_the_place_of_a_file_is_not_waited_for(path: Path, monkeypatch: Any) -> None:
    """The FIFO appears between the check and the opening."""
    os.mkfifo(path.with_name("fifo"))
    regular = path.stat()
    monkeypatch.setattr(Path, "stat", lambda *_, **__: regular)
    with pytest.raises(shutil.SpecialFileError, match="got a FIFO"):
        nc.load(path.with_name("fifo"))


def loop(folder: Path) -> Path:
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    return folder / "a"


UNREADABLE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "links in a loop": (loop, "Too many levels of symbolic links"),
    "a file as a folder": (lambda folder: folder / "strange.safetensors" / "x", "Not a directory"),
    "a name that is too long": (lambda folder: folder / ("x" * 300), "File name too long"),
    "what cannot be read": (lambda _: Path("/proc/self/mem"), "Input/output error"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_the_system_refuses_is_named(path: Path, name: str) -> None:
    make, message = UNREADABLE[name]
    strange, fresh = make(path.parent), trainer()
    for action in (nc.load, fresh.restore, lambda path: fresh.optimizer.restore(path, fresh.model)):
        with pytest.raises(OSError, match=message) as caught:
            action(strange)
        assert os.fspath(caught.value.filename) == str(strange)
    if strange.parent != Path("/proc/self"):
        with pytest.raises(OSError, match=message):
            fresh.save(strange)


@contextmanager
def no_more_files() -> Iterator[None]:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 8, limit[1]))
    opened = []
    try:
        while True:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        yield
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_too_many_open_files_are_an_error_that_names_the_path(path: Path) -> None:
    model, before = nc.load(path), path.read_bytes()
    fresh = trainer()
    for action in (nc.load, fresh.restore, model.save, fresh.save):
        with no_more_files(), pytest.raises(OSError, match="Too many open files") as caught:
            action(path)
        assert os.fspath(caught.value.filename) == str(path)
    assert path.read_bytes() == before
    assert fresh.history.epochs == 0


def test_a_thread_per_file_reads_as_one(path: Path) -> None:
    expected, found = nc.load(path).parameters, []
    threads = [threading.Thread(target=lambda: found.append(nc.load(path).parameters)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(np.array_equal(one, expected) for one in found)
