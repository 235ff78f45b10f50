"""Fuzzes `load` and `restore` with files whose bytes or structure were changed."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from runner import expect, main

import nncore as nc
from nncore import _safetensors

JUNK: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        7,
        2**31,
        2**53,
        2**61,
        2**63 - 1,
        2**64,
        -(2**63),
        10**30,
        0.5,
        -1.5,
        1e308,
    ),
    *("", "x", "0", "dense", "relu", "float64", "f4", "\x00", "é", "a.b", "name", [], {}, [[]], [0], ["0"]),
    *({"kind": "dense"}, [None] * 3, {"0": 1}, "9" * 5000),
]
ALLOWED = (ValueError, OSError)


@cache
def sources(folder: Path) -> list[bytes]:
    """Files of models with every kind of layer, and of trainers."""
    x, index = nc.Input(3, name="x"), nc.Input(1, name="index", is_integer=True)
    hidden = nc.Dropout(0.5)(nc.PReLU(4)(nc.BatchNorm(4)(nc.Dense(3, 4)(x))))
    shared = nc.Dense(4, 4, name="shared")
    joined = nc.Concatenate()(shared(hidden), nc.Embedding(5, 2)(index), nc.LayerNorm(4)(shared(hidden)))
    graph = nc.Model([x, index], [nc.GELU()(nc.Dense(10, 2)(joined)), hidden * hidden - hidden], seed=1)
    models = [nc.mlp([3, 4, 2], output="softmax", seed=0), nc.mlp([2, 1], dtype="float64", seed=0), graph]
    files = []
    for model in models:
        model.save(folder / "source", metadata={"a": [1, {"b": None}]})
        files.append((folder / "source").read_bytes())
    for optimizer in (nc.Adam(), nc.SGD(0.1, momentum=0.9)):
        made = trainer(optimizer)
        made.fit(np.ones((8, 3)), np.arange(8) % 2, epochs=2, progress=False)
        made.save(folder / "source")
        files.append((folder / "source").read_bytes())
    return files


def trainer(optimizer: nc.Optimizer) -> nc.Trainer:
    """A trainer like those whose checkpoints are fuzzed."""
    return nc.Trainer(nc.mlp([3, 4, 2], output="softmax", seed=0), "cross_entropy", optimizer)


def changed_bytes(random: np.random.Generator, data: bytes) -> bytes:
    """The file with a few bytes changed, moved, added or removed."""
    for _ in range(random.integers(1, 4)):
        at, length = int(random.integers(len(data) + 1)), int(random.integers(1, 40))
        if random.random() < 0.5:
            at = int(random.integers(min(len(data), 600) + 1))  # most of the header is at the beginning
        junk = random.bytes(length)
        data = [
            data[:at] + junk + data[at + length :],
            data[:at] + data[at + length :],
            data[:at] + junk + data[at:],
            data[:at],
            data[:at] + data[at : at + length] * 2 + data[at + length :],
            data[:at] + bytes(length) + data[at + length :],
            data[:at] + bytes([(data + b"\0")[at] ^ 1 << int(random.integers(8))]) + data[at + 1 :],
            int(random.choice([0, 1, 2**31, 2**63, len(data), max(8, len(data)) - 8])).to_bytes(8, "little")
            + data[8:],
        ][random.integers(8)]
    return data


def changed_tree(random: np.random.Generator, value: Any, depth: int = 0) -> Any:
    """A JSON value with one part changed."""
    children = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    if not children or random.random() < 0.1 + 0.05 * depth:
        return JUNK[random.integers(len(JUNK))]
    key = children[random.integers(len(children))]
    copy = dict(value) if isinstance(value, dict) else list(value)
    choice = random.random()
    if choice < 0.1:
        del copy[key]
    elif choice < 0.2 and isinstance(copy, dict):
        copy[str(JUNK[random.integers(len(JUNK))])] = copy[key]
    elif choice < 0.2:
        copy.insert(int(key), copy[key])
    else:
        copy[key] = changed_tree(random, copy[key], depth + 1)
    return copy


def changed_arrays(random: np.random.Generator, arrays: dict[str, Any]) -> dict[str, Any]:
    """The arrays with one removed, duplicated, or changed in shape, dtype or value."""
    name = list(arrays)[random.integers(len(arrays))]
    array = arrays[name]
    choice = random.integers(7)
    if choice == 0:
        return {key: other for key, other in arrays.items() if key != name}
    if choice == 1:
        return arrays | {name + "x": array}
    if choice == 2:
        return arrays | {name: array.reshape(-1)}
    if choice == 3:
        return arrays | {name: array.astype(random.choice(["f4", "f8", "i8", "u1", "bool", "f2", "i4"]))}
    if choice == 4:
        return arrays | {
            name: np.full_like(array, random.choice([0, 1, -1]) if array.dtype.kind == "i" else np.nan)
        }
    if choice == 5:
        return arrays | {name: np.concatenate([array.reshape(-1)] * 2)}
    return arrays | {name: np.zeros((0, *array.shape[1:]), array.dtype)}


def fuzz(random: np.random.Generator, folder: Path) -> None:
    """Loads one file, and restores it with trainers whose checkpoint it may be."""
    files, path = sources(folder), folder / "fuzzed"
    data = files[random.integers(len(files))]
    if random.random() < 0.5:
        path.write_bytes(changed_bytes(random, data))
    else:  # changed, but with a valid checksum
        path.write_bytes(data)
        fields, arrays = _safetensors.read(path)
        for _ in range(random.integers(1, 3)):
            fields = changed_tree(random, fields) if random.random() < 0.8 else fields
            fields = fields if isinstance(fields, dict) else {"graph": fields}
            arrays = changed_arrays(random, arrays) if arrays and random.random() < 0.4 else arrays
        _safetensors.write(path, json.loads(json.dumps(fields)), arrays)
    model = expect(ALLOWED, lambda: nc.load(path))
    if isinstance(model, nc.Model):
        use(model, folder)
    for optimizer in (nc.Adam(), nc.SGD(0.1, momentum=0.9)):
        made = trainer(optimizer)
        before = made.model.parameters.tobytes(), len(made.history["loss"]) if made.history else 0
        if isinstance(expect(ALLOWED, lambda made=made: made.restore(path)), Exception):
            assert before == (
                made.model.parameters.tobytes(),
                len(made.history["loss"]) if made.history else 0,
            )
        else:
            expect((FloatingPointError,), lambda made=made: made.step(np.ones((2, 3)), np.zeros(2, int)))


def use(model: nc.Model, folder: Path) -> None:
    """Checks that a loaded model predicts, and that saving it twice gives the same bytes."""
    if sum(model.input_widths) < 1000:
        inputs = [np.zeros((2, width)) for width in model.input_widths]
        expect((*ALLOWED, MemoryError), lambda: model.predict(inputs[0] if len(inputs) == 1 else inputs))
    model.save(folder / "again")
    first = (folder / "again").read_bytes()
    nc.load(folder / "again").save(folder / "again")
    assert first == (folder / "again").read_bytes()


if __name__ == "__main__":
    main(fuzz)
