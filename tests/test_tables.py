"""Tables, columns and tensors of other libraries: numbers are read exactly, others are named in an error."""

import datetime as dt
import decimal
import sys
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from numpy.typing import NDArray

import nncore as nc

NAMES = ["a", "b", "c"]
X = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 0], [1, 1, 0]], dtype=np.float64)
LABELS = np.array([0, 1, 1, 0])


class Speaks:
    """An object with some protocols of NumPy and DLPack, and nothing else."""

    def __init__(self, array: NDArray, *protocols: str) -> None:
        self._array, self._protocols = array, protocols

    def __getattr__(self, name: str) -> Any:
        if name in self._protocols:
            return getattr(self._array, name)
        raise AttributeError(name)


class Array(Speaks):
    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray:
        return self._array


class Tensor(Speaks):
    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


class LooksLikePolars(Array):
    columns, dtypes, shape = NAMES, ["Float64"] * 3, X.shape

    def to_numpy(self) -> NDArray:
        return self._array.copy()


class LooksLikePandas(LooksLikePolars):
    ndim = 2


class ToNumpy:
    def __init__(self, array: NDArray) -> None:
        self._array = array

    def to_numpy(self) -> NDArray:
        return self._array


def frame(array: NDArray) -> pd.DataFrame:
    return pd.DataFrame(array, columns=NAMES)


TABLES: dict[str, Callable[[NDArray], Any]] = {
    "polars": lambda a: pl.DataFrame(a, schema=NAMES),
    "polars of integers": lambda a: pl.DataFrame(a.astype("i2"), schema=NAMES),
    "polars of several types": lambda a: pl.DataFrame(
        {"a": a[:, 0].astype("u1"), "b": a[:, 1].astype("f4"), "c": a[:, 2].astype("i8")}
    ),
    "arrow": lambda a: pa.table(dict(zip(NAMES, a.T, strict=True))),
    "arrow of float16": lambda a: pa.table(dict(zip(NAMES, a.astype("f2").T, strict=True))),
    "arrow batch": lambda a: pa.record_batch(dict(zip(NAMES, a.astype("i4").T, strict=True))),
    "arrow of two chunks": lambda a: pa.concat_tables(
        pa.table(dict(zip(NAMES, part.T, strict=True))) for part in (a[:1], a[1:])
    ),
    "pandas on arrow": lambda a: frame(a).astype("float64[pyarrow]"),
    "pandas on arrow, integers": lambda a: frame(a).astype("uint8[pyarrow]"),
    "pandas, nullable floats": lambda a: frame(a).astype("Float32"),
    "pandas, nullable integers": lambda a: frame(a).astype("Int8"),
    "pandas, sparse": lambda a: frame(a).astype(pd.SparseDtype("float64", 0.0)),
    "pandas, several types": lambda a: frame(a).astype({"a": "Int16", "b": "float32", "c": "UInt8"}),
    "bfloat16": lambda a: a.astype(ml_dtypes.bfloat16),
    "rows of bfloat16": lambda a: [*a.astype(ml_dtypes.bfloat16)],
    "float8": lambda a: a.astype(ml_dtypes.float8_e5m2),
    "another float8": lambda a: a.astype(ml_dtypes.float8_e4m3fn),
    "int4": lambda a: a.astype(ml_dtypes.int4),
    "what makes an array": lambda a: Array(a, "shape"),
    "what looks like polars": LooksLikePolars,
    "what looks like pandas": LooksLikePandas,
    "what has to_numpy": ToNumpy,
    "DLPack": Tensor,
    "DLPack of float32": lambda a: Tensor(a.astype("f4")),
    "the array interface": lambda a: Speaks(a, "__array_interface__"),
    "a buffer": memoryview,
    "a deque": lambda a: deque(a.tolist()),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", TABLES)
def test_tables(form: str, dtype: type) -> None:
    model = nc.mlp([3, 4, 2], "tanh", dtype=dtype, seed=0)
    given = TABLES[form](X.copy())
    assert np.array_equal(model.predict(given), model.predict(X))
    trained = []
    for x in (X, given):
        trainer = nc.Trainer(nc.mlp([3, 2], dtype=dtype, seed=0), "softmax_cross_entropy")
        trainer.fit(x, LABELS, 2, 3, validation_data=(x, LABELS), progress=False)
        trainer.step(x, LABELS)
        trained.append(trainer.model.parameters.copy())
    assert np.array_equal(*trained)


class OldSeries(pd.Series):
    """A series like pandas's before 2.2: without a dtype, nullable integers become objects."""

    def to_numpy(self, dtype: Any = None, **options: Any) -> NDArray:
        return np.array([*self], dtype=object) if dtype is None else super().to_numpy(dtype, **options)


COLUMNS: dict[str, Callable[[NDArray], Any]] = {
    "pandas, nullable": lambda y: pd.Series(y, dtype="Int64"),
    "pandas, nullable and unsigned": lambda y: pd.Series(y, dtype="UInt8", index=[5, 5, 6, 7]),
    "pandas before 2.2": lambda y: OldSeries(y, dtype="Int64"),
    "pandas on arrow": lambda y: pd.Series(y, dtype="int32[pyarrow]"),
    "pandas, sparse": lambda y: pd.Series(y, dtype="Sparse[int64]"),
    "an array of pandas": lambda y: pd.array(y, dtype="Int16"),
    "an index": pd.Index,
    "a frame": lambda y: pd.DataFrame({"label": y}).astype("Int64"),
    "one-hot rows": lambda y: pd.DataFrame({"a": 1 - y, "b": y}).astype("Int8"),
    "polars": pl.Series,
    "a polars frame": lambda y: pl.DataFrame({"label": y}),
    "arrow": pa.array,
    "arrow of two chunks": lambda y: pa.chunked_array([pa.array(y[:1]), pa.array(y[1:])]),
    "int4": lambda y: y.astype(ml_dtypes.int4),
    "one-hot rows of bfloat16": lambda y: np.eye(2)[y].astype(ml_dtypes.bfloat16),
    "DLPack": Tensor,
    "the other byte order": lambda y: y.astype(y.dtype.newbyteorder()),
}


@pytest.mark.parametrize("form", COLUMNS)
def test_labels_stay_integers(form: str) -> None:
    trained = []
    for y in (LABELS, COLUMNS[form](LABELS)):
        trainer = nc.Trainer(nc.mlp([3, 2], output="softmax", seed=0), "cross_entropy", metrics=["accuracy"])
        trainer.fit(X, y, 2, 3, validation_data=(X, y), progress=False)
        trainer.step(X, y)
        trained.append((trainer.model.parameters.tobytes(), trainer.evaluate(X, y)))
    assert trained[0] == trained[1]


def test_integers_are_read_exactly() -> None:
    large = 2**53 + 1  # not a float64
    for column in (
        pd.Series([large, 0], dtype="Int64"),
        pd.DataFrame({"a": pd.array([large, 0], dtype="Int64"), "b": [1, 2]})["a"],
        pl.Series([large, 0]),
        pa.array([large, 0]),
        pd.Series([large, 0], dtype="int64[pyarrow]"),
        np.array([large, 0], dtype=">i8"),
    ):
        trainer = nc.Trainer(nc.mlp([3, 2], output="softmax", seed=0), "cross_entropy")
        with pytest.raises(ValueError, match=f"label {large} in row 0"):
            trainer.fit(X[:2], column, progress=False)


INTEGERS = [0, None, 1, None]
MISSING: dict[str, tuple[Any, str]] = {
    "pandas": (pd.Series(INTEGERS, dtype="Int64"), "2, the first in row 1"),
    "pandas before 2.2": (OldSeries(INTEGERS, dtype="Int8"), "2, the first in row 1"),
    "pandas on arrow": (pd.Series(INTEGERS, dtype="int64[pyarrow]"), "2, the first in row 1"),
    "booleans": (pd.Series(INTEGERS, dtype="boolean"), "2, the first in row 1"),
    "an array of pandas": (pd.array(INTEGERS, dtype="UInt8"), "2, the first in row 1"),
    "a frame": (
        pd.DataFrame({"a": pd.array([0, 1, 1, None], dtype="Int64"), "b": [1, 0, 0, 1]}),
        "1, the first in row 3, column 0",
    ),
    "polars": (pl.Series(INTEGERS), "2, the first in row 1"),
    "a polars frame": (
        pl.DataFrame({"a": [1, 0, 0, 1], "b": [0, None, 1, 0]}),
        "1, the first in row 1, column 1",
    ),
    "arrow": (pa.array(INTEGERS), "2, the first in row 1"),
    "arrow of two chunks": (
        pa.chunked_array([pa.array([0, 1, 1]), pa.array([None], pa.int64())]),
        "1, .*row 3",
    ),
}


@pytest.mark.parametrize("case", MISSING)
def test_missing_labels_are_named_by_row(case: str) -> None:
    y, found = MISSING[case]
    trainer = nc.Trainer(nc.mlp([3, 2], output="softmax", seed=0), "cross_entropy")
    before = trainer.model.parameters.copy()
    calls = (
        ("y", lambda: trainer.fit(X, y, progress=False)),
        ("y", lambda: trainer.step(X, y)),
        ("y", lambda: trainer.evaluate(X, y)),
        ("validation y", lambda: trainer.fit(X, LABELS, validation_data=(X, y), progress=False)),
    )
    for argument, call in calls:
        with pytest.raises(ValueError, match=f"^{argument} must have no missing values; got {found}"):
            call()
    assert np.array_equal(trainer.model.parameters, before)


@pytest.mark.parametrize(
    "y", [pd.Series(INTEGERS), pd.Series([0.0, np.nan, 1.0, 0.0]), np.array([0, np.nan, 1, np.nan]),
          pl.Series([0.0, None, 1.0, 0.0])]
)  # fmt: skip
def test_labels_that_are_floats_for_want_of_one(y: Any) -> None:
    trainer = nc.Trainer(nc.mlp([3, 2], output="softmax", seed=0), "cross_entropy")
    message = (
        r"^y must be class indices of an integer dtype, or .* \(4, 2\); got .*floats, with nan in row 1$"
    )
    with pytest.raises(ValueError, match=message):
        trainer.fit(X, y, progress=False)


@pytest.mark.parametrize("form", ["Int64", "Float32", "float64[pyarrow]", "polars", "arrow"])
def test_what_is_missing_among_inputs_is_nan(form: str) -> None:
    values = [0.0, None, 2.0, 3.0]
    if form in ("polars", "arrow"):
        table = (pl.DataFrame if form == "polars" else pa.table)({"a": [1, 2, 3, 4], "b": values})
    else:
        table = pd.DataFrame({"a": [1, 2, 3, 4], "b": pd.array(values, dtype=form)})
    model = nc.mlp([2, 2], seed=0)
    assert np.isnan(model.predict(table)[1]).all()
    assert np.isfinite(model.predict(table)[[0, 2, 3]]).all()
    with pytest.raises(FloatingPointError, match="x must be finite; got nan in row 1, column 1"):
        nc.Trainer(model, "mean_squared_error").fit(table, X[:, :2], progress=False)


def test_missing_indices_have_no_number() -> None:
    rows = nc.Input(2, is_integer=True)
    model = nc.Model(rows, nc.Dense(4, 2)(nc.Embedding(5, 2)(rows)), seed=0)
    table = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [0, 1]})
    with pytest.raises(
        ValueError, match=r"^x must have no missing values; got 1, the first in row 1, column 0"
    ):
        model.predict(table)


SPARSE = scipy.sparse.csr_matrix(X)
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "csr_matrix": (lambda: SPARSE, r"got csr_matrix, which is sparse: call \.toarray\(\)"),
    "coo_array": (lambda: scipy.sparse.coo_array(X), r"got coo_array, which is sparse: call \.toarray\(\)"),
    "dok_matrix": (lambda: SPARSE.todok(), r"got dok_matrix, which is sparse: call \.toarray\(\)"),
    "generator": (lambda: (row for row in X), r"got generator, an iterator: pass list\(x\)"),
    "map": (lambda: map(list, X), r"got map, an iterator: pass list\(x\)"),
    "iterator": (lambda: iter(X), r"got iterator, an iterator: pass list\(x\)"),
    "set": (lambda: {0, 1}, r"got set, which has no order: pass sorted\(x\)"),
    "frozenset": (lambda: frozenset([1]), r"got frozenset, which has no order: pass sorted\(x\)"),
    "values of a dict": (lambda: {"a": X}.values(), r"got dict_values: pass list\(x\)"),
    "LazyFrame": (lambda: pl.DataFrame(X).lazy(), r"got LazyFrame: call \.collect\(\)"),
    "None": (lambda: None, "got None$"),
    "text": (lambda: "1, 2, 3", "got str$"),
    "bytes": (lambda: b"123", "got bytes$"),
    "a class": (lambda: np.ndarray, "got the class ndarray$"),
    "a function": (lambda: len, "got builtin_function_or_method$"),
    "an object": (object, "got object$"),
    "a table of text": (lambda: [["1", "2", "3"]], r"got dtype <U1: np\.unique"),
    "a column of text": (lambda: pl.DataFrame({"a": ["x"]}), "column 'a' of x .*; got dtype String: np"),
    "categories": (lambda: pd.Series(["x"], dtype="category").to_frame("a"), "column 'a' .* dtype category:"),
    "a dictionary": (lambda: pa.array(["x"]).dictionary_encode(), "got dtype dictionary<.*: np"),
    "dates": (lambda: pl.DataFrame({"a": [dt.date(2020, 1, 1)]}), "column 'a' .*; got dtype Date$"),
    "times": (lambda: X.astype("M8[s]"), r"got dtype datetime64\[s\]$"),
    "decimals": (lambda: [[decimal.Decimal(1)] * 3], "got Decimal in row 0, column 0$"),
    "lists as numbers": (lambda: pd.Series([[1.0], [2.0]]), "got list in row 0$"),
    "None among numbers": (lambda: [[0, 1, None]], "got None in row 0, column 2$"),
    "objects": (lambda: X.astype(object), r"got dtype object: convert it with \.astype\(float\)"),
    "complex numbers": (lambda: X * 1j, "got dtype complex128$"),
    "fields": (lambda: np.zeros(3, [("a", "f8")]), "got dtype .*structured_to_unstructured"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_holds_no_numbers_is_named_with_the_remedy(case: str) -> None:
    make, message = REFUSED[case]
    trainer = nc.Trainer(nc.mlp([3, 2], seed=0), "mean_squared_error")
    calls = (
        lambda: trainer.model.predict(make()),
        lambda: trainer.fit(make(), X[:, :2], progress=False),
        lambda: trainer.step(make(), X[:, :2]),
    )
    for call in calls:
        with pytest.raises(TypeError, match=message):
            call()
    with pytest.raises(TypeError, match=r"^(column 'a' of )?y must "):
        trainer.fit(X, make(), progress=False)


class TorchTensor:
    """The parts of torch's tensors that the tests use."""

    def __init__(self, array: NDArray, dtype: str = "float64", layout: str = "torch.strided") -> None:
        self.array, self.dtype, self.layout = array, dtype, layout

    def is_floating_point(self) -> bool:
        return self.array.dtype.kind == "f"

    def float(self) -> "TorchTensor":
        return TorchTensor(self.array.astype(np.float32), self.dtype.replace("bfloat16", "float32"))

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray:
        if self.dtype == "bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        if self.dtype == "with a gradient":
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy()")
        return self.array

    def __dlpack__(self) -> None:
        raise AssertionError("NumPy takes no bfloat16 so")


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name: name for name in ("float16", "float32", "float64")}
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(Tensor=TorchTensor, **names))


@pytest.mark.usefixtures("torch")
def test_tensors_of_torch() -> None:
    model = nc.mlp([3, 2], seed=0)
    expected = model.predict(X)
    rows = [TorchTensor(row, "bfloat16") for row in X]
    for given in (TorchTensor(X), TorchTensor(X, "bfloat16"), rows, TorchTensor(X.astype(int), "int64")):
        assert np.array_equal(model.predict(given), expected)
    with pytest.raises(
        TypeError, match=r"^x must be an array, .*; got TorchTensor, which is sparse: call \.to_dense"
    ):
        model.predict(TorchTensor(X, layout="torch.sparse_coo"))
    with pytest.raises(TypeError, match=r"^x must be .*; got TorchTensor: .* Use tensor.detach\(\)"):
        model.predict(TorchTensor(X, "with a gradient"))
