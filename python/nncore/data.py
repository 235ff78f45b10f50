"""What fit, predict and step accept, brought to the arrays that the core takes.

Lists, NumPy arrays and pandas tables of bool, integer or float numbers are allowed. Arrays are passed on
as they are: the core converts rows while it gathers them, so no array is copied as a whole.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .registry import unknown_name

if TYPE_CHECKING:
    from numpy.typing import NDArray


def as_inputs(
    x: Any, names: Sequence[str], features: Sequence[int], argument: str = "x"
) -> list[NDArray[Any]]:
    """One table (B, features) for each input of a model.

    `x` is one table where the model has one input, and a list, tuple or dict of tables where it has several.
    A 1-D array is one sample.

    >>> as_inputs([1.0, 2.0], ["input"], [2])
    [array([[1., 2.]])]
    """
    pairs = each(x, names, argument)
    tables = [_as_table(given, label, width) for (label, given), width in zip(pairs, features, strict=True)]
    if len(tables) > 1 and len({len(table) for table in tables}) > 1:
        lengths = ", ".join(f"{name}: {len(table)}" for name, table in zip(names, tables, strict=True))
        raise ValueError(f"{argument} has different numbers of samples ({lengths})")
    return tables


def as_targets(y: Any, names: Sequence[str], rows: int, argument: str = "y") -> list[NDArray[Any]]:
    """One target for each output that has a loss; the core checks shapes, which depend on the loss."""
    targets = []
    for label, given in each(y, names, argument):
        array = as_numbers(given, label)
        if array.ndim == 0:
            raise ValueError(f"{label} must have one row a sample; given a single number")
        if array.shape[0] != rows:
            raise ValueError(f"{label} has {array.shape[0]} samples, but x has {rows}")
        targets.append(array)
    return targets


def as_sample_weight(weight: Any, rows: int, argument: str = "sample_weight") -> NDArray[Any] | None:
    """A weight for each sample, (B,), or None."""
    if weight is None:
        return None
    array = as_numbers(weight, argument)
    if array.shape != (rows,):
        raise ValueError(f"{argument} must have shape ({rows},); given {array.shape}")
    return array


def as_numbers(given: Any, argument: str, *, vector: str = "row") -> NDArray[Any]:
    """An array of bool, integer or float numbers; otherwise TypeError, naming the argument and the column.

    Masked arrays are taken as their data, and refused by ValueError where an entry is masked. `vector` says
    in messages what the entries of a 1-D array are.
    """
    if isinstance(given, np.ndarray):
        array = _check_dtype(given, argument)
        if not _is_masked(given):
            return array
    elif hasattr(given, "to_numpy") and hasattr(given, "dtypes"):
        return _from_pandas(given, argument)
    else:
        try:
            # As asarray, but for what makes an array of itself, as netCDF4's variables do: it keeps the mask.
            array = _check_dtype(np.asanyarray(given), argument)
        except ValueError as error:  # rows of different lengths
            raise ValueError(f"{argument} is not a table: {error}") from None
    _check_mask(given, array, argument, vector)
    return np.asarray(array)


def each(given: Any, names: Sequence[str], argument: str) -> list[tuple[str, Any]]:
    """What is given for each of some inputs or outputs, in their order, and what to call it in messages.

    With one name, anything but a dict is that one thing itself, a list too.
    """
    if isinstance(given, np.ndarray) and len(names) == 1:
        return [(argument, given)]
    if isinstance(given, Mapping):
        for name in given:
            if name not in names:
                raise unknown_name(f"name in {argument}", name, names)
        missing = [name for name in names if name not in given]
        if missing:
            raise ValueError(f"{argument} lacks {', '.join(map(repr, missing))}")
        return [(f"{argument}[{name!r}]", given[name]) for name in names]
    if len(names) == 1:
        return [(argument, given)]
    if not isinstance(given, (list, tuple)):
        raise TypeError(
            f"{argument} must be a list, tuple or dict of {len(names)} ({', '.join(names)}); "
            f"given {type(given).__name__}"
        )
    if len(given) != len(names):
        raise ValueError(f"{argument} must hold {len(names)} ({', '.join(names)}); given {len(given)}")
    return [(f"{argument}[{i}]", item) for i, item in enumerate(given)]


def _as_table(given: Any, label: str, width: int) -> NDArray[Any]:
    array = as_numbers(given, label, vector="column")
    if array.ndim == 1:
        if array.size != width:
            hint = f"; for {array.size} samples of 1 feature, reshape to (-1, 1)" if width == 1 else ""
            raise ValueError(f"{label} has {array.size} numbers, but a sample has {width} features{hint}")
        array = array.reshape(1, -1)
    if array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"{label} must have shape (B, {width}); given {array.shape}")
    return array


def _is_masked(given: Any) -> bool:
    # Where nobody has imported numpy.ma there are no such arrays; importing it takes 10 ms.
    masked_arrays = sys.modules.get("numpy.ma")
    return masked_arrays is not None and isinstance(given, masked_arrays.MaskedArray)


def _check_mask(given: Any, array: NDArray[Any], argument: str, vector: str) -> None:
    """Refuses masked entries: the numbers under a mask mean nothing."""
    if _is_masked(array):
        mask = np.ma.getmaskarray(array)
    elif isinstance(given, Sequence) and array.ndim > 1 and any(map(_is_masked, given)):
        mask = np.zeros(array.shape, bool)  # NumPy takes the rows without their masks
        for place, row in enumerate(given):
            mask[place] = np.ma.getmaskarray(row) if _is_masked(row) else False
    else:
        return
    places = np.argwhere(np.atleast_1d(mask))
    if len(places) > 0:
        axes = (vector,) if mask.ndim < 2 else ("row", "column")
        first = ", ".join(f"{axis} {place}" for axis, place in zip(axes, places[0], strict=False))
        raise ValueError(
            f"{argument} must have no masked entries; got {len(places)}, the first in {first}: "
            "fill them by .filled(value), or drop their rows"
        )


def _check_dtype(array: NDArray[Any], argument: str) -> NDArray[Any]:
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{argument} must hold bool, integer or float numbers; given dtype {array.dtype}")
    if not array.dtype.isnative:
        raise TypeError(
            f"{argument} has the byte order of another machine (dtype {array.dtype.str}); "
            f"convert it by astype({argument}.dtype.newbyteorder('='))"
        )
    return array


def _from_pandas(table: Any, argument: str) -> NDArray[Any]:
    """A DataFrame or a Series."""
    frame = table.ndim == 2
    columns = list(zip(table.columns, table.dtypes, strict=True)) if frame else [(None, table.dtype)]
    for column, dtype in columns:
        if getattr(dtype, "kind", "O") not in "biuf":
            which = f"{argument}" if column is None else f"column {column!r} of {argument}"
            raise TypeError(f"{which} must hold bool, integer or float numbers; given dtype {dtype}")
    if len({dtype for _, dtype in columns}) == 1:
        array: NDArray[Any] = table.to_numpy()
        if array.dtype != object:
            return _check_dtype(array, argument)
    # Of several types, or with missing values: as objects, pandas would take a multiple of the memory.
    return _check_dtype(table.to_numpy(dtype=np.float64, na_value=np.nan), argument)
