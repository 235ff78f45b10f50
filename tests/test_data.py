"""Data that fit, predict and step accept; results depend only on the values."""

import numpy as np
import pandas as pd
import pytest

import nncore as nc

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
TABLE = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [1, 1, 0]]


@pytest.fixture
def model():
    return nc.mlp([3, 4, 2], activation="tanh", seed=0)


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, "float16", "float32", "float64", "longdouble"])
def test_any_real_dtype_predicts_the_same(model, dtype):
    array = np.array(TABLE).astype(dtype)
    expected = model.predict(array.astype(np.float32))
    assert np.array_equal(model.predict(array), expected)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(np.repeat(a, 2, axis=0), 2, axis=1)[::2, ::2],
        lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
        lambda a: pd.DataFrame(a, columns=["a", "b", "c"]),
        lambda a: pd.DataFrame(a).astype({0: "int8", 1: "float32"}),
        lambda a: a.tolist(),
    ],
    ids=["fortran", "strided", "reversed", "frame", "mixed frame", "list"],
)
def test_any_layout_predicts_the_same(model, view):
    array = np.array(TABLE, dtype=np.float64)
    assert np.array_equal(model.predict(view(array)), model.predict(array))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_labels_of_any_integer_dtype(dtype, shape):
    trained = []
    for y in (np.array([0, 1, 1, 0]), np.array([0, 1, 1, 0], dtype=dtype).reshape(shape)):
        model = nc.mlp([3, 2], output="softmax", seed=0)
        nc.Trainer(model, "cross_entropy", "sgd").fit(TABLE, y, epochs=2, batch_size=3, progress=False)
        trained.append(model.parameters.copy())
    assert np.array_equal(*trained)


def test_pandas_all_the_way():
    frame = pd.DataFrame(TABLE, columns=["a", "b", "c"])
    labels, weight = pd.Series([0, 1, 1, 0]), pd.Series([1.0, 2.0, 0.5, 1.0])
    trained = []
    for convert in (lambda table: table, lambda table: table.to_numpy()):
        model = nc.mlp([3, 2], output="softmax", seed=0)
        nc.Trainer(model, "cross_entropy", "adam").fit(
            convert(frame), convert(labels), sample_weight=convert(weight), epochs=2, progress=False
        )
        trained.append(model.parameters.copy())
    assert np.array_equal(*trained)


def test_pandas_own_types_and_missing_values(model):
    frame = pd.DataFrame({"a": pd.array([1, 2], dtype="Int64"), "b": [0.5, 1.5], "c": [True, False]})
    assert np.array_equal(model.predict(frame), model.predict([[1, 0.5, 1], [2, 1.5, 0]]))
    frame.loc[0, "a"] = pd.NA
    assert np.isnan(model.predict(frame)[0]).all()


def test_a_vector_of_targets_where_there_is_one_output():
    trained = []
    for y in ([1.0, 2.0, 3.0, 4.0], [[1.0], [2.0], [3.0], [4.0]]):
        model = nc.mlp([3, 1], seed=0)
        nc.Trainer(model, "half_squared_error", "sgd").step(TABLE, y)
        trained.append(model.parameters.copy())
    assert np.array_equal(*trained)


def test_integer_targets_of_a_regression_are_values():
    model = nc.mlp([3, 1], dtype=np.float64, seed=0)
    as_integers = model.loss_and_gradients(TABLE, np.array([1, 2, 3, 4]), "half_squared_error")
    assert as_integers == model.loss_and_gradients(TABLE, np.array([1.0, 2, 3, 4]), "half_squared_error")


def test_a_list_of_arrays_is_data_where_the_model_has_one_input(model):
    rows = [np.array(row) for row in TABLE]
    assert np.array_equal(model.predict(rows), model.predict(TABLE))


def test_the_data_are_left_alone(model):
    x, y = np.array(TABLE, dtype=np.float32), np.array([0, 1, 1, 0])
    kept = x.copy(), y.copy()
    x.flags.writeable = y.flags.writeable = False
    nc.Trainer(model, "softmax_cross_entropy").fit(x, y, epochs=2, progress=False)
    assert np.array_equal(x, kept[0])
    assert np.array_equal(y, kept[1])
