"""Any spelling of this machine's byte order counts as native; data in the other order are converted."""

import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import nncore as nc
from small_networks import chain, draw, train_epoch

OWN, OTHER = "<>" if sys.byteorder == "little" else "><"
NUMBERS = ["i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "g"]
X = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8], [1, 1, 0]], dtype=np.float64)
LABELS, WEIGHT = np.array([0, 1, 1, 0]), np.array([1.0, 2.0, 0.5, 1.0])


def spelled_out(array: Any, order: str = OWN) -> NDArray:
    """The same values with an explicit byte order in the dtype, as file readers produce it."""
    array = np.asarray(array)
    result = array.astype(array.dtype.newbyteorder(order))
    assert result.dtype.byteorder == order
    return result


@pytest.mark.parametrize("number", NUMBERS)
def test_x_of_every_dtype(number: str) -> None:
    model, x = nc.mlp([3, 4, 2], "tanh", seed=0), X.astype(number)
    expected = model.predict(x)
    assert np.array_equal(model.predict(spelled_out(x)), expected)
    assert np.array_equal(model.predict(spelled_out(x)[0]), expected[:1])
    assert np.array_equal(model.predict([*spelled_out(x)]), expected)
    assert np.array_equal(model.network.predict(spelled_out(x)), expected)  # needs no conversion


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_that_training_takes(dtype: type) -> None:
    parameters, evaluations = [], []
    for form in (np.asarray, spelled_out):
        x, y, weight = form(X.astype(dtype)), form(LABELS), form(WEIGHT)
        model = nc.mlp([3, 4, 2], "tanh", "softmax", dtype=form(np.zeros(1, dtype)).dtype, seed=0)
        trainer = nc.Trainer(model, "cross_entropy", metrics=["accuracy"])
        trainer.fit(x, y, 2, 2, sample_weight=weight, validation_data=(x, y, weight), progress=False)
        trainer.step(x, y, weight)
        model.loss_and_gradients(x, y, "cross_entropy", weight)
        out = form(np.zeros((4, 2), dtype))
        assert model.predict(x, out=out) is out
        assert np.array_equal(model.forward(x), out)
        model.backward(form(np.ones((4, 2), dtype)))
        parameters.append([model.parameters.copy(), model.gradients.copy()])
        evaluations.append((trainer.evaluate(x, y, weight), trainer.history["val_loss"]))
    assert np.array_equal(*parameters)
    assert evaluations[0] == evaluations[1]


def test_parameters_and_setters() -> None:
    model = nc.mlp([3, 2], seed=0)
    for dtype in (np.float32, np.float64, np.int16):
        values = np.arange(model.parameters.size, dtype=dtype)
        model.parameters = spelled_out(values)
        assert np.array_equal(model.parameters, values)
        model.gradients = spelled_out(values[::-1])
        assert np.array_equal(model.gradients, values[::-1])
        model[0].weight = spelled_out(values[:6].reshape(2, 3))
        assert np.array_equal(model[0].weight, values[:6].reshape(2, 3))
        model[0].bias = spelled_out(values[:2])
        assert np.array_equal(model[0].bias, values[:2])


def test_metrics() -> None:
    truth, predicted = np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert nc.accuracy(spelled_out(truth), spelled_out(predicted)) == nc.accuracy(truth, predicted)
    column = predicted[:, 1:]
    assert nc.binary_accuracy(spelled_out(truth), spelled_out(column)) == nc.binary_accuracy(truth, column)


@pytest.mark.parametrize("number", ["f4", "f8"])
def test_dtype_arguments(number: str) -> None:
    own = np.dtype(number).newbyteorder(OWN)
    assert own.byteorder == OWN
    model = nc.mlp([3, 2], dtype=own, seed=0)
    other = nc.mlp([3, 2], seed=0).copy(dtype=own)
    for dtype in (model.dtype, other.dtype, model.parameters.dtype, model.predict(X).dtype):
        assert dtype == np.dtype(number)
        assert dtype.byteorder == "="
    assert nc.Model(*nc_input_and_output(), dtype=own).dtype == np.dtype(number)
    for make in (lambda dtype: nc.mlp([3, 2], dtype=dtype), lambda dtype: model.copy(dtype=dtype)):
        with pytest.raises(TypeError, match="dtype must be float32 or float64"):
            make(np.dtype(number).newbyteorder(OTHER))


def nc_input_and_output() -> tuple[Any, Any]:
    x = nc.Input(3)
    return x, nc.Dense(3, 2)(x)


def test_rows_of_a_network() -> None:
    one, other = chain([3, 2]), chain([3, 2])
    x, y, rows = draw(4, 3), draw(4, 2), np.array([3, 0, 1])
    losses = [train_epoch(m, x, y, rows=r).mean_loss for m, r in ((one, spelled_out(rows)), (other, rows))]
    assert losses[0] == losses[1]
    with pytest.raises(TypeError, match=r"^rows must have dtype int64, .*; got dtype"):
        train_epoch(one, x, y, rows=spelled_out(rows, OTHER))


def foreign(array: Any) -> NDArray:
    return spelled_out(array, OTHER)


@pytest.mark.parametrize("number", NUMBERS)
def test_x_of_the_other_order(number: str) -> None:
    model, x = nc.mlp([3, 4, 2], "tanh", seed=0), X.astype(number)
    expected = model.predict(x)
    given = foreign(x)
    frame = pd.DataFrame(given, columns=["a", "b", "c"])
    assert frame.dtypes.iloc[0].byteorder == OTHER
    for other in (given, np.asfortranarray(given), [*given], given[::-1][::-1], frame):
        assert np.array_equal(model.predict(other), expected)
    assert np.array_equal(model.predict(given[0]), expected[:1])
    assert given.dtype.byteorder == OTHER  # unchanged
    assert np.array_equal(given, x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_in_the_other_order(dtype: type) -> None:
    results = []
    for form in (np.asarray, foreign):
        x, y, weight = form(X.astype(dtype)), form(LABELS), form(WEIGHT)
        model = nc.mlp([3, 4, 2], "tanh", "softmax", dtype=dtype, seed=0)
        trainer = nc.Trainer(model, "cross_entropy", metrics=["accuracy"])
        trainer.fit(x, y, 2, 2, sample_weight=weight, validation_data=(x, y, weight), progress=False)
        trainer.step(x, y, weight)
        outputs = [model.forward(x), model.backward(form(np.ones((4, 2)))), model.gradients.copy()]
        model.loss_and_gradients(x, y, "cross_entropy", weight)
        outputs += [model.gradients.copy(), trainer.evaluate(x, y, weight), trainer.history["val_loss"]]
        model[0].bias = form(np.arange(4, dtype=dtype))
        model[0].weight = form(np.ones((4, 3), dtype))
        outputs.append(model.parameters.copy())
        model.parameters = form(model.parameters * 2)
        results.append([*outputs, model.parameters.copy(), nc.accuracy(y, form(np.eye(4, 2)))])
    for own, other in zip(*results, strict=True):
        assert np.array_equal(own, other)


def test_an_own_loss_in_the_other_order() -> None:
    losses, y = [], X[:, :2]
    for form in (np.asarray, foreign):
        trainer = nc.Trainer(
            nc.mlp([3, 2], seed=0), lambda output, y, form=form: (1.0, form(output - y)), nc.SGD(0.1)
        )
        trainer.step(form(X), form(y))
        losses.append(trainer.model.parameters.copy())
    assert np.array_equal(*losses)


@pytest.mark.parametrize("number", ["f4", "f8"])
def test_what_is_written_to_cannot_be_converted(number: str) -> None:
    model = nc.mlp([3, 2], dtype=number, seed=0)
    out = foreign(np.zeros((4, 2), number))
    with pytest.raises(TypeError, match=r"^out must have dtype .*, in native byte order; got dtype"):
        model.predict(X, out=out)
    assert not out.any()
