"""Arrays in every memory layout that nncore.functional accepts, for its tests."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nncore import _core

DTYPES = [np.float32, np.float64]
LAYOUTS = ["C", "F", "C padded", "F padded"]


def arranged(values: NDArray, layout: str) -> NDArray:
    """The same values in another layout, with NaN in the padding."""
    order, padding = layout[0], 3 if layout.endswith("padded") else 0
    rows, columns = values.shape
    shape = (rows, columns + padding) if order == "C" else (rows + padding, columns)
    array = np.full(shape, np.nan, values.dtype, order=order)[:rows, :columns]
    array[...] = values
    return array


def draw(shape: int | tuple[int, ...], dtype: DTypeLike, seed: int) -> NDArray:
    return np.random.default_rng(seed).uniform(-2.0, 2.0, shape).astype(dtype)


def wider(array: NDArray) -> NDArray:
    """The array in a precision in which results are exact compared with the array's own precision."""
    return array.astype(np.float64 if array.dtype == np.float32 else np.longdouble)


def gamma(operations: int, dtype: DTypeLike) -> float:
    """The bound k u / (1 - k u) on the relative error of k roundings, u half the machine epsilon."""
    unit = float(np.finfo(dtype).eps) / 2
    return operations * unit / (1 - operations * unit)


def same_bits(a: NDArray | float, b: NDArray | float) -> bool:
    """Whether two arrays are equal in every bit, with any NaN equal to any other."""
    a, b = np.asarray(a), np.asarray(b)
    nan = np.isnan(a)
    signs = np.signbit(a) == np.signbit(b)
    return a.dtype == b.dtype and np.array_equal(nan, np.isnan(b)) and bool(np.all(nan | ((a == b) & signs)))


def instruction_sets() -> list[str]:
    """The instruction sets that this processor supports."""
    names: list[str] = _core.show_config()["instruction_sets_supported"]
    return names


@contextmanager
def using_instruction_set(name: str) -> Iterator[None]:
    before = _core.show_config()["instruction_set"]
    _core.use_instruction_set(name)
    try:
        yield
    finally:
        _core.use_instruction_set(before)


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    before = _core.num_threads()
    _core.set_num_threads(count)
    try:
        yield
    finally:
        _core.set_num_threads(before)
