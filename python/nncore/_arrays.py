"""What fit, predict and step accept, brought to the arrays that the core takes.

Lists, NumPy arrays and pandas tables of bool, integer or float numbers are allowed. Arrays are passed on
as they are: the core converts rows while it gathers them, so no array is copied as a whole. Columns that
have names are told apart by them: a table whose columns stand in another order is put right.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ._errors import unknown_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

Label: TypeAlias = "str | int"
FeatureNames: TypeAlias = "Mapping[str, tuple[Label, ...]]"  # of the columns of some inputs, by input name


def as_inputs(
    x: Any,
    names: Sequence[str],
    features: Sequence[int],
    feature_names: FeatureNames,
    argument: str = "x",
) -> list[NDArray[Any]]:
    """One table (B, features) for each input of a model.

    `x` is one table where the model has one input, and a list, tuple or dict of tables where it has several.
    A 1-D array is one sample. Columns with names are put in the order of `feature_names`; ValueError for
    columns of other names.

    >>> as_inputs([1.0, 2.0], ["input"], [2], {})
    [array([[1., 2.]])]
    """
    pairs = each(x, names, argument)
    tables = [
        _as_table(given, label, width, feature_names.get(name))
        for name, (label, given), width in zip(names, pairs, features, strict=True)
    ]
    if len(tables) > 1 and len({len(table) for table in tables}) > 1:
        lengths = ", ".join(f"{name}: {len(table)}" for name, table in zip(names, tables, strict=True))
        raise ValueError(f"{argument} must have one number of samples; got {lengths}")
    return tables


def find_feature_names(x: Any, names: Sequence[str], argument: str = "x") -> FeatureNames:
    """What the columns of x are called, for the inputs that are given as tables with names."""
    found = {}
    for name, (label, given) in zip(names, each(x, names, argument), strict=True):
        labels = _column_labels(given, label)
        if labels is not None and not _count_from_0(labels):
            found[name] = labels
    return found


def check_same_order(x: Any, reference: Any, names: Sequence[str], argument: str) -> None:
    """ValueError where x has the named columns of `reference` in another order."""
    wanted = find_feature_names(reference, names)
    for name, labels in find_feature_names(x, names, argument).items():
        if labels != wanted.get(name, labels):
            label = argument if len(names) == 1 else f"{argument}[{name!r}]"
            raise ValueError(
                f"{label} must have its columns in the order of x, {_some(wanted[name])}; got {_some(labels)}"
            )


def check_feature_names(
    given: Any, names: Sequence[str], features: Sequence[int]
) -> dict[str, tuple[Label, ...]]:
    """Names for the columns of some inputs, by input name; TypeError or ValueError for anything else."""
    if not isinstance(given, Mapping):
        raise TypeError(f"feature_names must be a dict by input name; got {type(given).__name__}")
    checked = {}
    widths = dict(zip(names, features, strict=True))
    for name, given_labels in given.items():
        if name not in widths:
            raise unknown_name("names of inputs in feature_names", name, names)
        if isinstance(given_labels, str) or not isinstance(given_labels, Iterable):
            raise TypeError(f"feature_names[{name!r}] must be a list of names; got {given_labels!r}")
        labels = tuple(map(_as_label, given_labels))
        if len(set(labels)) < len(labels) or len(labels) != widths[name]:
            got = _some(labels) or "none"
            raise ValueError(f"feature_names[{name!r}] must be {widths[name]} distinct names; got {got}")
        checked[name] = labels
    return checked


def as_targets(y: Any, names: Sequence[str], rows: int, argument: str = "y") -> list[NDArray[Any]]:
    """One target for each output that has a loss; the core checks shapes, which depend on the loss."""
    targets = []
    for label, given in each(y, names, argument):
        array = as_numbers(given, label)
        if array.ndim == 0:
            raise ValueError(f"{label} must have one row a sample; got a single number")
        if array.shape[0] != rows:
            raise ValueError(f"{label} must have {rows} samples, as x has; got {array.shape[0]}")
        targets.append(array)
    return targets


def as_sample_weight(weight: Any, rows: int, argument: str = "sample_weight") -> NDArray[Any] | None:
    """A weight for each sample, (B,), or None."""
    if weight is None:
        return None
    array = as_numbers(weight, argument)
    if array.shape != (rows,):
        raise ValueError(f"{argument} must have shape ({rows},); got {array.shape}")
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
    elif _is_pandas(given):
        return _from_pandas(given, argument)
    else:
        try:
            # As asarray, but for what makes an array of itself, as netCDF4's variables do: it keeps the mask.
            array = _check_dtype(np.asanyarray(given), argument)
        except ValueError as error:  # rows of different lengths
            raise ValueError(f"{argument} must be a table; got rows that make none: {error}") from None
    _check_mask(given, array, argument, vector)
    return np.asarray(array)


def assign(
    view: NDArray[Any], values: NDArray[Any], argument: str, changing: AbstractContextManager[Any]
) -> None:
    """view[...] = values within `changing`, and without broadcasting, so that `layer.weight -= step` and
    `= w` both work.
    """
    array = as_numbers(values, argument)
    if array.shape != view.shape:
        raise ValueError(f"{argument} must have shape {view.shape}; got {array.shape}")
    with changing:
        view[...] = array


def each(given: Any, names: Sequence[str], argument: str) -> list[tuple[str, Any]]:
    """What is given for each of some inputs or outputs, in their order, and what to call it in messages.

    With one name, anything but a dict is that one thing itself, a list too.
    """
    if isinstance(given, np.ndarray) and len(names) == 1:
        return [(argument, given)]
    if isinstance(given, Mapping):
        for name in given:
            if name not in names:
                raise unknown_name(f"names in {argument}", name, names)
        missing = [name for name in names if name not in given]
        if missing:
            raise ValueError(
                f"{argument} must have {', '.join(map(repr, names))}; "
                f"got none for {', '.join(map(repr, missing))}"
            )
        return [(f"{argument}[{name!r}]", given[name]) for name in names]
    if len(names) == 1:
        return [(argument, given)]
    if not isinstance(given, (list, tuple)):
        raise TypeError(
            f"{argument} must be a list, tuple or dict of {len(names)} ({', '.join(names)}); "
            f"got {type(given).__name__}"
        )
    if len(given) != len(names):
        raise ValueError(f"{argument} must hold {len(names)} ({', '.join(names)}); got {len(given)}")
    return [(f"{argument}[{i}]", item) for i, item in enumerate(given)]


def _as_table(given: Any, label: str, width: int, known: tuple[Label, ...] | None) -> NDArray[Any]:
    order = _column_order(given, label, known)
    array = as_numbers(given, label, vector="column")
    if array.ndim == 1:
        if array.size != width:
            hint = f": for {array.size} samples of 1 feature, reshape to (-1, 1)" if width == 1 else ""
            raise ValueError(f"{label} must have {width} features a sample; got {array.size} numbers{hint}")
        array = array.reshape(1, -1)
    if array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"{label} must have shape (B, {width}); got {array.shape}")
    return array if order is None else array[:, order]


def _column_order(table: Any, argument: str, known: tuple[Label, ...] | None) -> list[int] | None:
    """Where in a table the known columns stand; None where they stand in order, or are told by place."""
    labels = _column_labels(table, argument)
    if labels is None or labels == known:
        return None
    if known is None:
        if not _count_from_0(labels):
            return None
        known = tuple(range(len(labels)))
    places = {label: place for place, label in enumerate(labels)}
    expected = set(known)
    if places.keys() != expected:
        missing = _some([label for label in known if label not in places]) or "none"
        unexpected = _some([label for label in labels if label not in expected]) or "none"
        raise ValueError(
            f"{argument} must have the columns that the model was trained on, in any order; "
            f"got a table with {missing} missing, {unexpected} unexpected"
        )
    return [places[label] for label in known]


def _column_labels(table: Any, argument: str) -> tuple[Label, ...] | None:
    """What a table calls its columns; None where it has no names, or only pandas' default of 0, 1, 2, ..."""
    if isinstance(table, np.ndarray):
        return None
    if hasattr(table, "column_names"):  # pyarrow, whose `columns` are the data
        given = table.column_names
    elif hasattr(table, "columns") and hasattr(table, "to_numpy"):  # pandas, polars
        given = table.columns
    elif _is_pandas(table) and len(table) > 1:  # a row of a DataFrame; one number may be of a column as well
        given = table.index
    else:
        return None
    labels = tuple(map(_as_label, given))
    if len(set(labels)) < len(labels):
        twice = dict.fromkeys(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"{argument}'s column names must be distinct; got several of {_some(list(twice))}")
    return None if labels == tuple(range(len(labels))) else labels


def _as_label(given: Any) -> Label:
    """A name that a file can hold."""
    is_integer = isinstance(given, (int, np.integer)) and not isinstance(given, bool)
    return int(given) if is_integer else str(given)


def _count_from_0(labels: tuple[Label, ...]) -> bool:
    """Whether they are the numbers of columns, in any order."""
    return set(labels) == set(range(len(labels)))


def _some(labels: Sequence[Label]) -> str:
    """The first of some names, for messages."""
    shown = ", ".join(map(repr, labels[:5]))
    return f"{shown} and {len(labels) - 5} more" if len(labels) > 5 else shown


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
        raise TypeError(f"{argument} must hold bool, integer or float numbers; got dtype {array.dtype}")
    if not array.dtype.isnative:
        raise TypeError(
            f"{argument} must have the byte order of this machine; got dtype {array.dtype.str}: "
            f"convert it by astype({argument}.dtype.newbyteorder('='))"
        )
    return array


def _is_pandas(given: Any) -> bool:
    """Whether it is a DataFrame or a Series."""
    return hasattr(given, "to_numpy") and hasattr(given, "dtypes") and hasattr(given, "ndim")


def _from_pandas(table: Any, argument: str) -> NDArray[Any]:
    """A DataFrame or a Series."""
    frame = table.ndim == 2
    columns = list(zip(table.columns, table.dtypes, strict=True)) if frame else [(None, table.dtype)]
    for column, dtype in columns:
        if getattr(dtype, "kind", "O") not in "biuf":
            which = f"{argument}" if column is None else f"column {column!r} of {argument}"
            raise TypeError(f"{which} must hold bool, integer or float numbers; got dtype {dtype}")
    if len({dtype for _, dtype in columns}) == 1 or all(dtype.kind in "iu" for _, dtype in columns):
        array: NDArray[Any] = table.to_numpy()
        if array.dtype != object:
            return _check_dtype(array, argument)
    # Of several types, or with missing values: as objects, pandas would take a multiple of the memory.
    return _check_dtype(table.to_numpy(dtype=np.float64, na_value=np.nan), argument)
