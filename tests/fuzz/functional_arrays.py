"""Fuzzes nncore.functional with arrays of any shape, layout, dtype and value, and with overlapping outputs.

A call that succeeds must give the same bits as on contiguous copies. A call that fails must write nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from runner import expect, main

from nncore import _core
from nncore import functional as F

LOSSES = {entry["name"]: entry for entry in _core.entries["losses"]}
SIZES = (0, 1, 1, 2, 3, 4, 5, 8, 15, 16, 17, 33, 70)
DTYPES = ("f2", "i8", "i4", "u1", "bool", "c8", ">f4", ">f8", "g", "O", "U3", "M8[s]")
VALUES = (0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 1e-40, 1e38, -1e38, 1e308, 5e-324)
JUNK = (None, 0, 1.5, "x", [[1.0]], (), np.float32(1), object(), 2**70, -1, b"", {})


def values(random: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """Numbers in [0, 1) or around 0, some of them replaced by special values."""
    numbers = random.random(shape) if random.random() < 0.5 else random.normal(size=shape)
    if random.random() < 0.2:
        numbers = np.where(random.random(shape) < 0.2, random.choice(VALUES, shape), numbers)
    return numbers.astype(dtype)


def laid_out(random: np.random.Generator, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same numbers in another memory layout."""
    choice = random.integers(12)
    if array.ndim != 2 or choice < 4:
        return array
    rows, columns = array.shape
    if choice == 4:
        return np.asfortranarray(array)
    if choice in (5, 6):  # padded rows
        wide = np.zeros((rows, columns + 3), array.dtype)
        wide[:, 1 : columns + 1] = array
        return wide[:, 1 : columns + 1]
    if choice == 7:  # strided columns
        wide = np.zeros((rows, 2 * columns), array.dtype)
        wide[:, ::2] = array
        return wide[:, ::2]
    if choice == 8:
        return array[::-1].copy()[::-1]
    if choice == 9 and not array.dtype.hasobject:  # misaligned
        memory = np.zeros(array.nbytes + 1, "u1")
        moved = memory[1:].view(array.dtype).reshape(array.shape) if array.size else array
        moved[...] = array
        return moved
    if choice == 10 and rows:
        return np.broadcast_to(array[:1], array.shape)
    array.flags.writeable = choice != 11
    return array


def matrix(random: np.random.Generator, shape: tuple[int, ...], dtype: str, junk: float) -> Any:
    """An array of this shape and dtype, or with probability `junk` something else."""
    if random.random() < junk:
        choice = random.integers(5)
        if choice == 0:
            return JUNK[random.integers(len(JUNK))]
        if choice == 1:
            shape = tuple(int(random.choice(SIZES)) for _ in range(random.integers(4)))
        elif choice == 2:
            dtype = DTYPES[random.integers(len(DTYPES))]
            if dtype in ("U3", "M8[s]"):
                return np.zeros(shape, dtype)
        elif choice == 3:
            return np.ma.masked_less(values(random, shape, dtype), 0)
        else:
            shape = tuple(max(0, n + int(random.integers(-1, 2))) for n in shape)
    return laid_out(random, values(random, shape, dtype))


def arguments(random: np.random.Generator, name: str) -> tuple[list[Any], dict[str, Any], tuple[int, ...]]:
    """The arguments of a call, and the shape of the output."""
    rows, inputs, outputs = (int(random.choice(SIZES)) for _ in range(3))
    dtype, junk = ("f4", "f8")[random.integers(2)], 0.15 if random.random() < 0.6 else 0.0

    def array(*shape: int) -> Any:
        return matrix(random, shape, dtype, junk)

    options: dict[str, Any] = {}
    base = name.removesuffix("_and_gradient").removesuffix("_backward")
    if name == "dense_forward":
        given, shape = [array(rows, inputs), array(outputs, inputs)], (rows, outputs)
        if random.random() < 0.6:
            given.append(array(outputs))
        if random.random() < 0.4:
            options["activation"] = ["relu", "tanh", "softmax", "sigmoid", "", "gelu", 3][random.integers(7)]
    elif name == "dense_backward":
        given, shape = [array(rows, outputs), array(rows, inputs), array(outputs, inputs)], (rows, inputs)
    elif base in LOSSES:
        given, shape = loss_arguments(random, base, array, rows, outputs), (rows, outputs)
        if random.random() < 0.4:
            options["reduction"] = ["mean", "sum", "none", "max", None][random.integers(5)]
        if random.random() < 0.4:
            options["sample_weight"] = array(rows)
    else:
        given, shape = (
            [array(rows, outputs) for _ in range(2 if name.endswith("_backward") else 1)],
            (rows, outputs),
        )
    if random.random() < 0.4 and (name not in LOSSES):
        options["out"] = output(random, given, shape, dtype, junk)
    if random.random() < 0.2 and ("backward" in name or "gradient" in name):
        options["accumulate"] = bool(random.integers(2)) if random.random() < 0.9 else "yes"
    if random.random() < 0.02:
        options["nothing"] = 1
    return given, options, shape


def loss_arguments(random: np.random.Generator, name: str, array: Any, rows: int, outputs: int) -> list[Any]:
    """A prediction and a target of values or labels, some of which may be invalid."""
    if LOSSES[name]["takes_labels"] and random.random() < 0.5:
        low, high = (-1, outputs + 1) if random.random() < 0.2 else (0, max(1, outputs))
        kind = random.choice(["i8", "i4", "u1", "i2", ">i8"])
        shape = (rows,) if random.random() < 0.7 else (rows, 1)
        return [array(rows, outputs), random.integers(low, high, shape).astype(kind)]
    return [array(rows, outputs), array(rows, outputs if LOSSES[name]["same_features"] else outputs // 2)]


def output(
    random: np.random.Generator, given: list[Any], shape: tuple[int, ...], dtype: str, junk: float
) -> Any:
    """A new array for the result, one of the arguments, or part of an argument."""
    choice = random.integers(4)
    first = given[random.integers(len(given))]
    if choice == 0:
        return first
    if choice == 1 and isinstance(first, np.ndarray) and first.ndim == 2 and first.shape[0] > 1:
        return first[1:] if random.random() < 0.5 else first[:, : first.shape[1] // 2]
    return matrix(random, shape, dtype, junk)


def as_bits(result: Any) -> list[bytes]:
    """The bytes of a function's result, with one payload for all NaNs."""
    parts = result if isinstance(result, tuple) else (result,)
    arrays = [np.array(part, order="C") for part in parts]
    return [np.where(np.isnan(a), np.full_like(a, np.nan), a).tobytes() for a in arrays]


def fuzz(random: np.random.Generator, folder: Path) -> None:
    """Makes one call, and the same call on copies."""
    name = F.__all__[random.integers(len(F.__all__))]
    given, options, _ = arguments(random, name)
    arrays = [a for a in (*given, *options.values()) if isinstance(a, np.ndarray)]
    before = [a.tobytes() for a in arrays]
    copies = [np.array(a, order="C") if isinstance(a, np.ndarray) else a for a in given]
    extra = {key: np.array(a, order="C") if isinstance(a, np.ndarray) else a for key, a in options.items()}
    result = expect((ValueError, TypeError), lambda: getattr(F, name)(*given, **options))
    if isinstance(result, Exception):
        assert before == [a.tobytes() for a in arrays], f"{name} wrote before it failed: {result}"
        return
    out = options.get("out")
    for array, old in zip(arrays, before, strict=True):
        assert (
            array is out or np.shares_memory(array, out if out is not None else 0) or array.tobytes() == old
        )
    assert as_bits(result) == as_bits(getattr(F, name)(*copies, **extra)), (
        f"{name}: the layout changes the bits"
    )


if __name__ == "__main__":
    main(fuzz)
