"""Transforms of an optimizer: clipping, Python functions, and the moving average of the parameters."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nncore as nc

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
Y = X.sum(axis=1, keepdims=True)


def trainer(*transforms: Any, loss: Any = "half_squared_error", dtype: Any = np.float64) -> nc.Trainer:
    model = nc.mlp([3, 8, 1], activation="tanh", dtype=dtype, seed=0)
    return nc.Trainer(model, loss, nc.SGD(0.1, transforms=transforms))


def python_loss(output: Any, y: Any) -> tuple[float, Any]:
    return float(np.mean((output - y) ** 2) / 2), (output - y) / len(y)


@pytest.mark.parametrize("loss", ["half_squared_error", python_loss])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clipping_is_what_numpy_makes_of_the_gradients(loss: Any, dtype: Any) -> None:
    one = trainer(nc.clip_by_value(0.125), nc.clip_by_global_norm(0.25), loss=loss, dtype=dtype)
    before = one.model.parameters.copy()
    one.model.loss_and_gradients(X, Y, loss)
    gradients = np.clip(one.model.gradients, -0.125, 0.125)
    norm = np.linalg.norm(gradients)
    assert norm > 0.25
    one.step(X, Y)
    expected = before - 0.1 * gradients * (0.25 / norm)
    np.testing.assert_allclose(one.model.parameters, expected, rtol=0, atol=4 * np.finfo(dtype).eps)


def test_the_norm_is_of_what_is_trained() -> None:
    one = trainer(nc.clip_by_global_norm(1.0))
    one.model[0].trainable = False
    one.model.gradients[:] = 1e6
    layer = one.model[2]
    before = layer.weight.copy()
    layer.grad_weight[:], layer.grad_bias[:] = 0.25, 0.0
    one.optimizer.step(one.model)
    np.testing.assert_array_equal(layer.weight, before - 0.1 * 0.25)  # norm sqrt(8) / 4 < 1


def test_a_function_is_called_once_a_step_with_the_flat_gradients() -> None:
    seen: list[Any] = []

    def double(gradients: Any) -> None:
        seen.append(gradients.copy())
        gradients *= 2

    one, plain = trainer(double), trainer()
    plain.optimizer.learning_rate = 0.2
    for each in (one, plain):
        each.fit(X, Y, epochs=1, batch_size=10, progress=False)
    assert [array.shape for array in seen] == [one.model.parameters.shape] * 4
    assert np.array_equal(one.model.parameters, plain.model.parameters)


@pytest.mark.parametrize("loss", ["half_squared_error", python_loss])
def test_a_function_that_fails_makes_no_step(loss: Any) -> None:
    def fail(gradients: Any) -> None:
        raise RuntimeError("no")

    def functional(gradients: Any) -> Any:
        return gradients * 2

    def spoil(gradients: Any) -> None:
        gradients[0] = math.nan

    for function, error, message in (
        (fail, RuntimeError, "no"),
        (functional, TypeError, "must change the gradients in place and return None; got numpy.ndarray"),
        (spoil, FloatingPointError, r"the gradient of 0\.weight is not finite in step 1"),
    ):
        one = trainer(function, nc.moving_average(0.5), loss=loss)
        before = one.model.parameters.copy()
        for action in (one.step, one.fit):
            with pytest.raises(error, match=message):
                action(X, Y)
        assert np.array_equal(one.model.parameters, before)
        state = one.optimizer.state(one.model.store)
        assert state.steps == 0
        assert np.array_equal(state.slots["average"], before)


def test_transforms_may_be_replaced() -> None:
    one = trainer()
    one.optimizer.transforms = [nc.clip_by_value(0.5)]
    assert repr(one.optimizer.transforms) == "(clip_by_value(0.5),)"
    with pytest.raises(TypeError, match="transforms must be made by nncore or be functions; got 'clip'"):
        one.optimizer.transforms = ["clip"]  # type: ignore[list-item]
    assert len(one.optimizer.transforms) == 1
    with pytest.raises(ValueError, match="max_norm must be a finite number greater than 0; got 0"):
        nc.clip_by_global_norm(0.0)
    one.optimizer.transforms = [nc.moving_average(0.5), nc.moving_average(0.9)]
    with pytest.raises(ValueError, match="transforms must keep different slots; got 'average' twice"):
        one.step(X, Y)


def test_the_moving_average_of_the_parameters() -> None:
    one = trainer(nc.moving_average(0.75))
    average = one.model.parameters.copy()
    for _ in range(5):
        one.step(X, Y)
        average = 0.75 * average + 0.25 * one.model.parameters
    last = one.model.parameters.copy()
    with one.optimizer.averaged(one.model):
        np.testing.assert_array_equal(one.model.parameters, average)
        averaged = one.model.copy()
    assert np.array_equal(one.model.parameters, last)
    assert np.array_equal(averaged.parameters, average)
    with pytest.raises(ZeroDivisionError), one.optimizer.averaged(one.model):
        raise ZeroDivisionError
    assert np.array_equal(one.model.parameters, last)
    with (
        pytest.raises(ValueError, match=r"transforms must include nncore\.moving_average"),
        trainer().optimizer.averaged(one.model),
    ):
        pass


def test_what_is_frozen_has_no_average() -> None:
    one = trainer(nc.moving_average(0.75))
    one.model[0].trainable = False
    one.step(X, Y)
    one.model[0].weight[:] = 7.0
    with one.optimizer.averaged(one.model):
        assert np.all(one.model[0].weight == 7.0)


def test_checkpoints_keep_the_average(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    whole, first, second = (trainer(nc.clip_by_global_norm(0.5), nc.moving_average(0.9)) for _ in range(3))
    whole.fit(X, Y, epochs=3, batch_size=10, progress=False)
    first.fit(X, Y, epochs=1, batch_size=10, progress=False)
    first.save(path)
    second.restore(path)
    assert len(second.optimizer.transforms) == 2
    second.fit(X, Y, epochs=2, batch_size=10, progress=False)
    assert np.array_equal(second.model.parameters, whole.model.parameters)
    slots = [one.optimizer.state(one.model.store).slots["average"] for one in (second, whole)]
    assert np.array_equal(*slots)
    with pytest.raises(ValueError, match=r"slots must be none; got optimizer\.average\.0\.bias"):
        trainer().restore(path)
