"""Turns what fit, predict and step accept into the arrays that the core takes.

Arrays of NumPy's own bool, integer and float dtypes pass unchanged: the core converts rows while it gathers
them, so no array is copied whole. `_tables` converts everything else. Named columns are matched by name, so
their order in a table does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from ._errors import unknown_name
from ._tables import MISSING, Numbers, is_pandas, is_sparse, read_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

Label: TypeAlias = "str | int"
FeatureNames: TypeAlias = "Mapping[str, tuple[Label, ...]]"  # by input name, the names of its columns


def as_inputs(
    x: Any,
    names: Sequence[str],
    features: Sequence[int],
    feature_names: FeatureNames,
    argument: str = "x",
) -> list[Table]:
    """One table (B, features) for each input of a model.

    `x` is one table for a model with one input, or a list, tuple or dict of tables. A 1-D array is one
    sample. Named columns are put in the order of `feature_names`; other names raise ValueError.

    >>> [table.array for table in as_inputs([1.0, 2.0], ["input"], [2], {})]
    [array([[1., 2.]])]
    """
    pairs = each(x, names, argument)
    tables = [
        _as_table(given, label, width, feature_names.get(name))
        for name, (label, given), width in zip(names, pairs, features, strict=True)
    ]
    if len(tables) > 1 and len({len(table.array) for table in tables}) > 1:
        lengths = ", ".join(f"{name}: {len(table.array)}" for name, table in zip(names, tables, strict=True))
        raise ValueError(f"{argument} must have the same number of samples in every input; got {lengths}")
    return tables


def find_feature_names(x: Any, names: Sequence[str], argument: str = "x") -> FeatureNames:
    """The column names of x, for the inputs given as tables with named columns."""
    found = {}
    for name, (label, given) in zip(names, each(x, names, argument), strict=True):
        labels = _column_labels(given, label)
        if labels is not None and not _count_from_0(labels):
            found[name] = labels
    return found


def check_same_order(x: Any, reference: Any, names: Sequence[str], argument: str) -> None:
    """Raises ValueError if x has the named columns of `reference` in another order."""
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
    """Column names by input name, as tuples. Raises TypeError or ValueError for anything else."""
    if not isinstance(given, Mapping):
        raise TypeError(f"feature_names must be a dict by input name; got {type(given).__name__}")
    checked = {}
    widths = dict(zip(names, features, strict=True))
    for name, given_labels in given.items():
        if name not in widths:
            raise unknown_name("keys of feature_names", name, names)
        if isinstance(given_labels, str) or not isinstance(given_labels, Iterable):
            raise TypeError(f"feature_names[{name!r}] must be a list of names; got {given_labels!r}")
        labels = tuple(map(_as_label, given_labels))
        if len(set(labels)) < len(labels) or len(labels) != widths[name]:
            got = _some(labels) or "none"
            raise ValueError(f"feature_names[{name!r}] must be {widths[name]} distinct names; got {got}")
        checked[name] = labels
    return checked


def as_targets(y: Any, names: Sequence[str], rows: int, argument: str = "y") -> list[Table]:
    """One target for each output with a loss. The core checks the shapes, as they depend on the loss."""
    targets = []
    for label, given in each(y, names, argument):
        numbers = read_numbers(given, label)
        array = numbers.array
        if array.ndim == 0:
            raise ValueError(f"{label} must have one row per sample; got a single number")
        if array.shape[0] != rows:
            x = argument.removesuffix("y") + "x"
            raise ValueError(f"{label} must have {rows} samples, like {x}; got {array.shape[0]}")
        targets.append(Table(label, numbers))
    return targets


def as_sample_weights(
    given: Any, names: Sequence[str], rows: int, argument: str = "sample_weight"
) -> NDArray[Any] | list[NDArray[Any]] | None:
    """Weights (B,): None, one array for all outputs with a loss, or a list of one array for each.

    Weights by output are given as a list or tuple of arrays (None stands for ones), as a dict by output name
    (a missing name stands for ones), or as an array or table (B, outputs).
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        for name in given:
            if name not in names:
                raise ValueError(
                    f"{argument} must be an array (B,), or a dict by output name ({', '.join(names)}); "
                    f"got a dict with {name!r}: for class weights, pass the weight of each sample's class"
                )
        columns = [(f"{argument}[{name!r}]", given.get(name)) for name in names]
    elif _is_one_for_each(given, len(names)):
        columns = [(f"{argument}[{place}]", column) for place, column in enumerate(given)]
    else:
        return _columns_of_weights(given, names, rows, argument)
    ones = np.broadcast_to(1.0, (rows,))  # needs no memory
    return [ones if column is None else _as_weight(column, rows, label) for label, column in columns]


def as_numbers(given: Any, argument: str, *, vector: str = "row") -> NDArray[Any]:
    """An array of bool, integer or float numbers. Raises TypeError for anything else, naming the column.

    Masked arrays without masked entries pass as their data. Masked entries and missing integers raise
    ValueError. `vector` is what messages call an entry of a 1-D array.
    """
    numbers = read_numbers(given, argument)
    return numbers.array if numbers.missing is None else Table(argument, numbers, vector).present()


def assign(
    view: NDArray[Any], values: NDArray[Any], argument: str, changing: AbstractContextManager[Any]
) -> None:
    """Assigns values of the same shape to a view, within `changing`.

    A property setter that calls this makes both `layer.weight = w` and `layer.weight -= step` work.
    """
    array = as_numbers(values, argument)
    if array.shape != view.shape:
        raise ValueError(f"{argument} must have shape {view.shape}; got {array.shape}")
    with changing:
        view[...] = array


def each(given: Any, names: Sequence[str], argument: str) -> list[tuple[str, Any]]:
    """For each named input or output, in order: what messages call it, and the object given for it.

    With one name, any object but a dict, even a list, is the one given for that name.
    """
    if isinstance(given, np.ndarray) and len(names) == 1:
        return [(argument, given)]
    if isinstance(given, Mapping) and not is_sparse(given):
        for name in given:
            if name not in names:
                raise unknown_name(f"keys of {argument}", name, names)
        missing = [name for name in names if name not in given]
        if missing:
            raise ValueError(
                f"{argument} must have the keys {', '.join(map(repr, names))}; "
                f"got none for {', '.join(map(repr, missing))}"
            )
        return [(f"{argument}[{name!r}]", given[name]) for name in names]
    if len(names) == 1:
        return [(argument, given)]
    if not isinstance(given, (list, tuple)):
        raise TypeError(
            f"{argument} must be a list, tuple or dict of {len(names)} items ({', '.join(names)}); "
            f"got {type(given).__name__}"
        )
    if len(given) != len(names):
        raise ValueError(f"{argument} must hold {len(names)} items ({', '.join(names)}); got {len(given)}")
    return [(f"{argument}[{i}]", item) for i, item in enumerate(given)]


class Table(NamedTuple):
    """The numbers given for an input or an output, and what messages call them."""

    label: str
    numbers: Numbers
    vector: str = "row"  # what messages call an entry of an array that was 1-D

    @property
    def array(self) -> NDArray[Any]:
        """The numbers, with arbitrary values where some are missing."""
        return self.numbers.array

    def present(self, rows: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """The array. Raises ValueError if a number is missing in the given rows (None: in any row)."""
        array, missing, what, remedy = self.numbers
        if missing is None:
            return array
        if rows is not None:
            missing = missing & rows.reshape(-1, *(1 for _ in missing.shape[1:]))
        places = np.argwhere(np.atleast_1d(missing))
        if len(places) > 0:
            is_row = self.vector == "column"
            axes, place = (["column"], places[0][-1:]) if is_row else (["row", "column"], places[0])
            first = ", ".join(f"{axis} {at}" for axis, at in zip(axes, place, strict=False))
            raise ValueError(
                f"{self.label} must have no {what}; got {len(places)}, the first in {first}{remedy}"
            )
        return array

    def or_nan(self) -> Table:
        """The table with NaN in place of missing values. Masked entries stay."""
        array, missing, what, _ = self.numbers
        if missing is None or what != MISSING:
            return self
        array = array.astype(np.float64)
        array[missing] = np.nan
        return Table(self.label, Numbers(array), self.vector)


def _as_table(given: Any, label: str, width: int, known: tuple[Label, ...] | None) -> Table:
    order = _column_order(given, label, known)
    numbers = read_numbers(given, label)
    array, missing = numbers.array, numbers.missing
    vector = "row" if array.ndim > 1 else "column"
    if array.ndim == 1:
        if array.size != width:
            hint = f": for {array.size} samples of 1 feature, reshape to (-1, 1)" if width == 1 else ""
            raise ValueError(f"{label} must have {width} features per sample; got {array.size} numbers{hint}")
        array, missing = array.reshape(1, -1), None if missing is None else missing.reshape(1, -1)
    if array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"{label} must have shape (B, {width}); got {array.shape}")
    if order is not None:
        array, missing = array[:, order], None if missing is None else missing[:, order]
    return Table(label, Numbers(array, missing, *numbers[2:]), vector)


def _is_one_for_each(given: Any, outputs: int) -> bool:
    """Whether a list holds one array for each output rather than one number for each sample."""
    if not isinstance(given, (list, tuple)) or len(given) != outputs:
        return False
    return any(item is None or np.ndim(item) > 0 for item in given)


def _columns_of_weights(
    given: Any, names: Sequence[str], rows: int, argument: str
) -> NDArray[Any] | list[NDArray[Any]]:
    """Weights given as one array or table: (B,) for all outputs, or (B, outputs)."""
    array = as_numbers(given, argument)
    if array.shape == (rows,):
        return array
    if array.shape != (rows, len(names)):
        by_output = "" if len(names) == 1 else f", or ({rows}, {len(names)}) by output"
        raise ValueError(f"{argument} must have shape ({rows},){by_output}; got {array.shape}")
    labels = _column_labels(given, argument)
    if labels is not None and set(labels) == set(names):
        return [array[:, labels.index(name)] for name in names]
    return [*array.T]


def _as_weight(given: Any, rows: int, argument: str) -> NDArray[Any]:
    array = as_numbers(given, argument)
    if array.shape == (rows, 1):
        array = array[:, 0]
    if array.shape != (rows,):
        raise ValueError(f"{argument} must have shape ({rows},); got {array.shape}")
    return array


def _column_order(table: Any, argument: str, known: tuple[Label, ...] | None) -> list[int] | None:
    """The place in a table of each known column. None if they are in order or go by position."""
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
    """The column names of a table. None if it has none, or only pandas' default of 0, 1, 2, ..."""
    if isinstance(table, np.ndarray):
        return None
    if hasattr(table, "column_names"):  # pyarrow, where `columns` holds the data
        given = table.column_names
    elif hasattr(table, "to_numpy") and hasattr(table, "columns"):  # pandas, polars
        given = table.columns
    elif is_pandas(table) and hasattr(table, "index") and len(table) > 1:
        given = table.index  # a row of a DataFrame; a Series of one number may also be a column
    else:
        return None
    labels = tuple(map(_as_label, given))
    if len(set(labels)) < len(labels):
        repeated = dict.fromkeys(label for label in labels if labels.count(label) > 1)
        raise ValueError(
            f"{argument}'s column names must be distinct; got {_some(list(repeated))} more than once"
        )
    return None if labels == tuple(range(len(labels))) else labels


def _as_label(given: Any) -> Label:
    """A column name as a file can hold it: an int or a str."""
    is_integer = isinstance(given, (int, np.integer)) and not isinstance(given, bool)
    return int(given) if is_integer else str(given)


def _count_from_0(labels: tuple[Label, ...]) -> bool:
    """Whether the labels are 0, 1, 2, ... in any order."""
    return set(labels) == set(range(len(labels)))


def _some(labels: Sequence[Label]) -> str:
    """The first five names, for messages."""
    shown = ", ".join(map(repr, labels[:5]))
    return f"{shown} and {len(labels) - 5} more" if len(labels) > 5 else shown
