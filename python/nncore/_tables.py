"""Reads other libraries' data as NumPy arrays.

These are tables and columns of pandas, polars and pyarrow, tensors, and any object with NumPy's or DLPack's
protocols. None of those libraries is imported here: their objects exist only once they are loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBERS = "bool, integer or float numbers"
MISSING = "missing values"


class Numbers(NamedTuple):
    """An array of bool, integer or float numbers in native byte order, and which of them are missing.

    Missing floats are NaN and not marked. Missing integers and masked entries have arbitrary values.
    """

    array: NDArray[Any]
    missing: NDArray[np.bool_] | None = None  # in the shape of the array; None: no number is missing
    what: str = MISSING  # or "masked entries"
    remedy: str = ": drop their rows, or give them a sample_weight of 0"


def read_numbers(given: Any, argument: str) -> Numbers:
    """The numbers in any supported object. Raises TypeError for other objects."""
    if isinstance(given, np.ndarray) and not _is_masked(given):
        return Numbers(as_plain(given, argument))
    if (columns := _columns_of(given, argument)) is not None:
        return columns
    _refuse_non_numeric(given, argument)
    array = as_plain(_as_array(given, argument), argument)
    mask = _mask_of(given, array)
    if mask is None or not mask.any():
        return Numbers(np.asarray(array))
    return Numbers(
        np.asarray(array), mask, "masked entries", ": fill them by .filled(value), or drop their rows"
    )


def as_plain(array: NDArray[Any], argument: str) -> NDArray[Any]:
    """The array itself, or an exact copy if it has another byte order or another library's dtype. Raises
    TypeError for an array of anything but bool, integer or float numbers.
    """
    dtype = array.dtype
    if dtype.isbuiltin == 2:  # registered by another library, as ml_dtypes does for bfloat16 and float8
        exact = (kind for kind in (np.int8, np.float32, np.float64) if np.can_cast(dtype, kind))
        if (plain := next(exact, None)) is not None:
            return array.astype(plain)
    elif dtype.kind in "biuf":
        return array if dtype.isnative else array.astype(dtype.newbyteorder("="))
    got = _described_dtype(dtype) if dtype.kind != "O" else _described_objects(array)
    raise TypeError(f"{argument} must hold {NUMBERS}; got {got}")


# Columns --------------------------------------------------------------------------------------------------


def _columns_of(given: Any, argument: str) -> Numbers | None:
    """The numbers in a table or column of pandas, polars or pyarrow. None for any other object."""
    if is_pandas(given):
        if given.ndim == 1:
            return _pandas_column(given, argument)
        if len(set(given.dtypes)) == 1 and isinstance(given.dtypes.iloc[0], np.dtype):
            dtype = given.dtypes.iloc[0]
            if dtype.kind in "biuf":
                return Numbers(as_plain(given.to_numpy(), argument))
        named = ((name, given.iloc[:, place]) for place, name in enumerate(given.columns))
        return _side_by_side(len(given), [_pandas_column(one, _of(name, argument)) for name, one in named])
    if _is_of("polars", "Series", given):
        return _polars_column(given, argument)
    if _is_of("polars", "DataFrame", given):
        columns = [_polars_column(one, _of(one.name, argument)) for one in given.get_columns()]
        return _side_by_side(given.height, columns)
    if _is_of("pyarrow", "Array", given) or _is_of("pyarrow", "ChunkedArray", given):
        return _arrow_column(given, argument)
    if _is_of("pyarrow", "Table", given) or _is_of("pyarrow", "RecordBatch", given):
        pairs = zip(given.column_names, given.columns, strict=True)
        columns = [_arrow_column(one, _of(name, argument)) for name, one in pairs]
        return _side_by_side(given.num_rows, columns)
    return None


def is_pandas(given: Any) -> bool:
    """Whether `given` is a table or column of pandas or of a library with the same interface."""
    if not (hasattr(given, "to_numpy") and hasattr(given, "ndim")):
        return False
    return hasattr(given, "iloc") or (given.ndim == 1 and hasattr(given, "fillna"))


def _is_of(module: str, name: str, given: Any) -> bool:
    known = getattr(sys.modules.get(module), name, None)
    return known is not None and isinstance(given, known)


def _of(column: object, argument: str) -> str:
    return f"column {column!r} of {argument}"


def _side_by_side(rows: int, columns: Sequence[Numbers]) -> Numbers:
    """Columns as one array (B, columns), of their common dtype."""
    dtype = np.result_type(*(column.array.dtype for column in columns)) if columns else np.dtype(np.float64)
    array = np.empty((rows, len(columns)), dtype, order="F")
    missing = np.zeros(array.shape, bool, order="F")
    for place, column in enumerate(columns):
        array[:, place] = column.array
        if column.missing is not None:
            missing[:, place] = column.missing
    if not missing.any():
        return Numbers(array)
    if dtype.kind != "f":
        return Numbers(array, missing)
    array[missing] = np.nan
    return Numbers(array)


def _pandas_column(column: Any, argument: str) -> Numbers:
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        return Numbers(as_plain(column.to_numpy(), argument))
    if getattr(dtype, "kind", "O") not in "biuf":
        raise TypeError(f"{argument} must hold {NUMBERS}; got {_described_dtype(dtype)}")
    # For other dtypes, the default of to_numpy depends on the version of pandas.
    same = getattr(dtype, "numpy_dtype", None) or getattr(dtype, "subtype", None)
    plain = np.dtype(same or {"b": "bool", "i": "int64", "u": "uint64", "f": "float64"}[dtype.kind])
    missing = np.asarray(column.isna())
    if not missing.any():
        return Numbers(as_plain(column.to_numpy(dtype=plain), argument))
    # Not by na_value, which some versions ignore. pyarrow does not accept 0 for False.
    filled = column.fillna(plain.type(0).item()).to_numpy(dtype=plain)
    if plain.kind != "f":
        return Numbers(as_plain(filled, argument), missing)
    return Numbers(as_plain(np.where(missing, plain.type(np.nan), filled), argument))


def _polars_column(column: Any, argument: str) -> Numbers:
    dtype = column.dtype
    is_boolean = dtype == sys.modules["polars"].Boolean
    if not (is_boolean or dtype.is_integer() or dtype.is_float()) or "128" in str(dtype):
        raise TypeError(f"{argument} must hold {NUMBERS}; got {_described_dtype(dtype)}")
    if dtype.is_float() or column.null_count() == 0:
        return Numbers(as_plain(column.to_numpy(), argument))  # missing floats become NaN
    filled = column.fill_null(False if is_boolean else 0).to_numpy()
    return Numbers(as_plain(filled, argument), column.is_null().to_numpy())


def _arrow_column(column: Any, argument: str) -> Numbers:
    types = sys.modules["pyarrow"].types
    is_boolean = types.is_boolean(column.type)
    if not (is_boolean or types.is_integer(column.type) or types.is_floating(column.type)):
        raise TypeError(f"{argument} must hold {NUMBERS}; got {_described_dtype(column.type)}")
    if types.is_floating(column.type) or column.null_count == 0:
        return Numbers(as_plain(np.asarray(column), argument))
    filled = np.asarray(column.fill_null(False if is_boolean else 0))
    return Numbers(as_plain(filled, argument), np.asarray(column.is_null()))


# Other objects --------------------------------------------------------------------------------------------


def _as_array(given: Any, argument: str) -> NDArray[Any]:
    """An array from a list, a tensor, or an object with one of the array protocols."""
    try:
        if "torch" in sys.modules:
            given = [*map(_plain_tensor, given)] if type(given) in (list, tuple) else _plain_tensor(given)
        if not hasattr(given, "__array__"):
            if hasattr(given, "__dlpack__"):
                return np.from_dlpack(given)
            if hasattr(given, "to_numpy"):
                return np.asanyarray(given.to_numpy())
        # Unlike asarray, it keeps the mask where __array__ returns a masked array, as netCDF4's variables do.
        return np.asanyarray(given)
    except Exception as error:  # other libraries raise errors of their own
        if isinstance(given, Sequence):  # rows of different lengths
            raise ValueError(f"{argument} must be a table; got rows that do not form one: {error}") from None
        kind = type(given).__name__
        raise TypeError(f"{argument} must be convertible to a NumPy array; got {kind}: {error}") from None


def _plain_tensor(given: Any) -> Any:
    """A torch tensor that NumPy can read: bfloat16 and float8 become float32, exactly. Other objects pass."""
    torch: Any = sys.modules["torch"]
    if not isinstance(given, torch.Tensor) or not given.is_floating_point():
        return given
    return given if given.dtype in (torch.float16, torch.float32, torch.float64) else given.float()


def _refuse_non_numeric(given: Any, argument: str) -> None:
    """Raises TypeError, with a remedy, for objects that NumPy would wrap as a single object."""
    for is_one, remedy in _REMEDIES:
        if is_one(given):
            got = type(given).__name__
            if given is None or isinstance(given, type):
                got = "None" if given is None else f"the class {given.__name__}"
            remedy = remedy.format(argument)
            raise TypeError(f"{argument} must be an array, a list or a table of numbers; got {got}{remedy}")


def is_sparse(given: Any) -> bool:
    """Whether `given` is a sparse matrix or array of SciPy or of a library with the same interface."""
    is_dense = hasattr(given, "__array_interface__")
    return not is_dense and (hasattr(given, "toarray") or hasattr(given, "todense"))


def _is_sparse_tensor(given: Any) -> bool:
    return _is_of("torch", "Tensor", given) and "strided" not in str(given.layout)


def _is_opaque(given: Any) -> bool:
    """Whether NumPy would wrap it as one object: it is no sequence or number and has no array protocol."""
    protocols = ("__array__", "__array_interface__", "__array_struct__", "__dlpack__", "to_numpy")
    if any(hasattr(given, name) for name in protocols) or isinstance(
        given, (Sequence, bool, int, float, complex)
    ):
        return False
    try:
        memoryview(given)
    except TypeError:
        return not (hasattr(given, "__len__") and hasattr(given, "__getitem__"))
    return False


#: Kinds of objects that hold no numbers for NumPy, and the remedy for each. {} stands for the argument.
_REMEDIES: tuple[tuple[Any, str], ...] = (
    (lambda given: given is None, ""),
    (lambda given: isinstance(given, type), ""),
    (lambda given: isinstance(given, (str, bytes)), ""),
    (is_sparse, ", which is sparse: call .toarray() or .todense() to make it dense"),
    (lambda given: isinstance(given, Mapping), ": pass list({}.values())"),
    (lambda given: isinstance(given, Set), ", which has no order: pass sorted({})"),
    (_is_sparse_tensor, ", which is sparse: call .to_dense()"),
    (lambda given: isinstance(given, Iterator), ", an iterator: pass list({})"),
    (lambda given: _is_opaque(given) and hasattr(given, "collect"), ": call .collect() first"),
    (lambda given: _is_opaque(given) and isinstance(given, Iterable), ": pass list({})"),
    (_is_opaque, ""),
)


def _described_dtype(dtype: Any) -> str:
    """An unsupported dtype as messages show it, with a remedy if there is one."""
    text = f"dtype {dtype}"
    if getattr(dtype, "names", None):
        return f"{text}: convert it with numpy.lib.recfunctions.structured_to_unstructured"
    if getattr(dtype, "kind", "O") in "UST" or any(word in text.lower() for word in _CATEGORICAL):
        return f"{text}: np.unique(..., return_inverse=True)[1] gives integer codes"
    return text


#: Parts of the names that libraries give to dtypes of text and of categories.
_CATEGORICAL = ("str", "categor", "dictionary", "enum")


def _described_objects(array: NDArray[Any]) -> str:
    """The first non-number in an array of objects, as messages show it."""
    for place, item in np.ndenumerate(array):
        if not isinstance(item, (bool, int, float, np.bool_, np.integer, np.floating)):
            got = "None" if item is None else type(item).__name__
            where = ", ".join(f"{axis} {at}" for axis, at in zip(("row", "column"), place, strict=False))
            return f"{got} in {where}" if where else got
    return "dtype object: convert it with .astype(float) or .astype(int)"


# Masks ----------------------------------------------------------------------------------------------------


def _is_masked(given: Any) -> bool:
    # Without numpy.ma loaded there are no masked arrays, and importing it takes 10 ms.
    masked_arrays = sys.modules.get("numpy.ma")
    return masked_arrays is not None and isinstance(given, masked_arrays.MaskedArray)


def _mask_of(given: Any, array: NDArray[Any]) -> NDArray[np.bool_] | None:
    """The mask of `given`, which was read as `array`. None if it has none."""
    if _is_masked(array):
        return np.ma.getmaskarray(array)
    holds_rows = isinstance(given, Sequence) and not isinstance(given, memoryview)
    if holds_rows and array.ndim > 1 and any(map(_is_masked, given)):
        mask = np.zeros(array.shape, bool)  # NumPy drops the masks of rows in a list
        for place, row in enumerate(given):
            mask[place] = np.ma.getmaskarray(row) if _is_masked(row) else False
        return mask
    return None
