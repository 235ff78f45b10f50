"""A step is made completely or not at all: non-finite numbers raise an error before anything is written."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import nncore as nc
from nncore.optimizers import ENTRIES

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((64, 3))
LABELS = (X[:, 0] > 0).astype(int)
OPTIMIZERS: dict[str, Callable[[], nc.Optimizer]] = {
    **ENTRIES,
    "momentum": lambda: nc.SGD(momentum=0.9),
    "nesterov": lambda: nc.SGD(momentum=0.9, nesterov=True),
}
#: Sizes with a small first weight, and with one large enough for plain SGD to fuse its update and gradient.
SIZES = {"small": [3, 8, 2], "large": [3, 700, 700, 2]}


def classifier(sizes: list[int], optimizer: Any = "adam", **options: Any) -> nc.Trainer:
    return nc.Trainer(nc.mlp(sizes, output="softmax", seed=0, **options), "cross_entropy", optimizer)


def state_of(trainer: nc.Trainer) -> list[bytes]:
    """Everything that a step changes. Leaves no view behind, because views change how a step is checked."""
    state = trainer.optimizer.state(trainer.model.store)
    arrays = (trainer.model.parameters, *state.slots.values(), np.array(state.steps))
    return [array.tobytes() for array in arrays]


@contextlib.contextmanager
def refused(trainer: nc.Trainer, message: str) -> Iterator[None]:
    """Checks for a FloatingPointError that leaves everything unchanged."""
    before = state_of(trainer)
    with pytest.raises(FloatingPointError, match=message):
        yield
    assert state_of(trainer) == before


# Inputs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39, -3.5e38])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
@pytest.mark.parametrize("size", SIZES)
def test_an_input_that_is_not_finite_is_named(value: float, activation: str, size: str) -> None:
    x = X.copy()
    x[40, 1] = value
    float32 = " in float32" if np.isfinite(value) else ""
    message = re.escape(f"x must be finite{float32}; got {value:g} in row 40, column 1")
    for optimizer in ("sgd", "adam"):
        trainer = classifier(SIZES[size], optimizer, activation=activation)
        with refused(trainer, message):
            trainer.fit(x, LABELS, batch_size=64, progress=False)
        with refused(trainer, message):
            trainer.step(x, LABELS)
        with refused(trainer, message):
            trainer.evaluate(x, LABELS)
        with refused(trainer, message):
            trainer.model.loss_and_gradients(x, LABELS, "cross_entropy")
        with refused(trainer, f"validation {message}"):
            trainer.fit(X, LABELS, validation_data=(x, LABELS), progress=False)
        with pytest.raises(FloatingPointError, match=message):  # earlier steps are kept
            trainer.fit(x, LABELS, batch_size=8, progress=False)
        assert np.isfinite(trainer.model.parameters).all()


@pytest.mark.parametrize("convert", [np.asarray, np.asfortranarray, list, lambda x: x[:, ::-1][:, ::-1]])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_it_is_named_in_any_layout_and_dtype(convert: Callable[..., Any], dtype: type) -> None:
    x = X.astype(dtype)
    x[7, 2] = -np.inf
    trainer = classifier(SIZES["small"], dtype=np.float64)
    with refused(trainer, "x must be finite; got -inf in row 7, column 2"):
        trainer.step(convert(x), LABELS)


def test_float64_models_take_what_float32_cannot_hold() -> None:
    x = X.copy()
    x[40, 1] = 1e39
    trainer = classifier(SIZES["small"], "sgd", dtype=np.float64, activation="tanh")
    trainer.fit(x, LABELS, progress=False)
    assert np.isfinite(trainer.model.parameters).all()


def test_the_input_is_named_where_there_are_several() -> None:
    a, b = nc.Input(2, name="a"), nc.Input(3, name="b")
    model = nc.Model([a, b], nc.Dense(5, 1)(nc.Concatenate()(a, b)), seed=0)
    trainer = nc.Trainer(model, "half_squared_error")
    x = [RANDOM.standard_normal((4, 2)), RANDOM.standard_normal((4, 3))]
    x[1][2, 0] = np.nan
    with refused(trainer, re.escape("x[1] must be finite; got nan in row 2, column 0")):
        trainer.step(x, np.ones(4))


@pytest.mark.parametrize("layer", [nc.Tanh, nc.Sigmoid, nc.ReLU])
def test_inputs_that_no_gradient_depends_on_are_looked_at(layer: type[nc.Layer]) -> None:
    x = X.copy()
    x[3, 0] = np.inf
    first = nc.Dense(3, 4, trainable=False)
    frozen = nc.Trainer(nc.Sequential(first, layer(), nc.Dense(4, 2), nc.Softmax(), seed=0), "cross_entropy")
    squashed = nc.Trainer(
        nc.Sequential(nc.Identity(), nc.Dense(3, 2), nc.Softmax(), seed=0), "cross_entropy", "sgd"
    )
    for trainer in (frozen, squashed):
        with refused(trainer, "row 3, column 0"):
            trainer.step(x, LABELS)


# Losses, gradients, updates ------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_gradient_of_a_python_loss(bad: float, optimizer: str) -> None:
    def loss(output: Any, y: Any) -> tuple[float, Any]:
        gradient = np.ones_like(output)
        gradient[5, 1] = bad
        return 1.0, gradient

    trainer = nc.Trainer(nc.mlp([3, 8, 2], seed=0), loss, OPTIMIZERS[optimizer]())
    message = f"the gradient of the loss is {bad} in row 5 of the batch, column 1, in step 1"
    with refused(trainer, message):
        trainer.step(X, LABELS)
    with refused(trainer, message):
        trainer.fit(X, LABELS, batch_size=64, progress=False)


def test_a_gradient_of_a_python_loss_that_the_dtype_cannot_hold() -> None:
    trainer = nc.Trainer(nc.mlp([3, 8, 2], seed=0), lambda output, y: (1.0, np.full(output.shape, 1e60)))
    with refused(trainer, "the gradient of the loss is inf in row 0"):
        trainer.step(X, LABELS)


def test_inputs_of_a_python_loss_are_looked_at() -> None:
    x = X.copy()
    x[40, 1] = np.inf
    trainer = nc.Trainer(nc.mlp([3, 8, 2], activation="tanh", seed=0), lambda output, y: (1.0, output))
    for action in (trainer.step, trainer.evaluate, trainer.fit):
        with refused(trainer, "x must be finite; got inf in row 40, column 1"):
            action(x, LABELS)
    with refused(trainer, "row 40, column 1"):
        trainer.model.loss_and_gradients(x, LABELS, lambda output, y: (1.0, output))


@pytest.mark.parametrize("optimizer", [nc.SGD, nc.Adam, nc.AdamW, lambda rate: nc.SGD(rate, momentum=0.9)])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_learning_rate_times_a_gradient(optimizer: Any, size: str, dtype: Any) -> None:
    rate = float(np.finfo(dtype).max) / 4
    trainer = classifier(SIZES[size], optimizer(rate), dtype=dtype)
    for action in (trainer.step, trainer.fit):
        with refused(trainer, r"the update of \d\.(weight|bias) is not finite in step 1 \(learning rate"):
            action(X * 100, LABELS)
    trainer.model.loss_and_gradients(X * 100, LABELS, "cross_entropy")
    with refused(trainer, r"the update of \d\.(weight|bias) is not finite in step 1 \(learning rate"):
        trainer.optimizer.step(trainer.model)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("size", SIZES)
def test_a_gradient_of_ones_own(bad: float, optimizer: str, size: str) -> None:
    trainer = classifier(SIZES[size], OPTIMIZERS[optimizer]())
    trainer.model.gradients[:] = 1e-3
    trainer.optimizer.step(trainer.model)
    layer = trainer.model[2]
    layer.grad_weight[1, 1] = bad
    with refused(trainer, "the gradient of 2.weight is not finite in step 2; that step was not made"):
        trainer.optimizer.step(trainer.model)
    layer.grad_weight[1, 1] = 0
    trainer.optimizer.step(trainer.model)
    assert np.isfinite(trainer.model.parameters).all()


@pytest.mark.parametrize("gradient", [1e21, 1e22, 1e25, 3e38])
def test_the_square_of_a_gradient(gradient: float) -> None:
    trainer = classifier(SIZES["small"], "adam")
    trainer.model.gradients[:] = 1e-3
    trainer.model[0].grad_bias[2] = gradient
    with refused(trainer, "the update of 0.bias is not finite in step 1"):
        trainer.optimizer.step(trainer.model)


@pytest.mark.parametrize("moment", ["first_moment", "second_moment"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_moments_that_somebody_spoilt(moment: str, bad: float) -> None:
    trainer = classifier(SIZES["small"], "adam")
    trainer.step(X, LABELS)
    view = trainer.optimizer.state(trainer.model.store).slots[moment]
    view[3] = bad
    for held in (view, None):
        view = held
        with refused(trainer, "the update of 0.weight is not finite in step 2"):
            trainer.step(X, LABELS)
    trainer.optimizer.state(trainer.model.store).slots[moment][3] = 0
    trainer.step(X, LABELS)


def test_an_overflow_below_the_last_layer() -> None:
    """The upper weight's gradient is finite, so plain SGD could already have updated that weight."""
    model = nc.mlp([200, 100, 200, 1], activation="identity", seed=0)
    trainer = nc.Trainer(model, "half_squared_error", nc.SGD(1e-3))
    x = np.zeros((4, 200), np.float32)
    x[:, 0] = 1e-30
    model.parameters[:] = 1e20
    model[0].weight[:] = 0
    model[0].bias[:] = 0
    model[1].bias[:] = 0
    model[2].bias[:] = 0
    with refused(trainer, r"the gradient of 0\.\w+ is not finite in step 1"):
        trainer.step(x, np.ones(4))


def test_what_is_not_trained_may_be_anything() -> None:
    trainer = classifier(SIZES["small"])
    trainer.model[0].trainable = False
    trainer.model.gradients[:] = 1e-3
    trainer.model[0].grad_weight[:] = np.nan
    trainer.optimizer.step(trainer.model)
    assert trainer.optimizer.state(trainer.model.store).steps == 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("size", SIZES)
def test_steps_that_need_a_closer_look_have_the_same_bits(optimizer: str, size: str) -> None:
    """Covers a view of the slots, which may be written at any time, and gradients beyond every bound."""
    plain, watched = (classifier(SIZES[size], OPTIMIZERS[optimizer]()) for _ in range(2))
    state = watched.optimizer.state(watched.model.store)
    views = state.slots
    for trainer in (plain, watched):
        trainer.fit(X, LABELS, epochs=3, progress=False)
    assert state_of(plain) == state_of(watched)
    del views
    for trainer in (plain, watched):
        trainer.model.gradients[:] = 1e16
        trainer.optimizer.learning_rate = 1e-20
        trainer.optimizer.step(trainer.model)
    assert state_of(plain) == state_of(watched)
    assert np.isfinite(plain.model.parameters).all()


# The unit of weights does not matter ---------------------------------------------------------------------

UNITS = [1e-300, 1e-60, 1e-44, 1e-39, 1e-5, 3.0, 1e39, 1e200, 1e306]
LOSSES = {
    "half_squared_error": "identity",
    "mean_squared_error": "identity",
    "cross_entropy": "softmax",
    "binary_cross_entropy": "sigmoid",
    "softmax_cross_entropy": "identity",
    "sigmoid_cross_entropy": "identity",
}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_unit_of_weights_does_not_matter(unit: float, loss: str, dtype: Any) -> None:
    y = np.eye(2)[LABELS]
    weight = RANDOM.uniform(0.5, 2, len(X))

    def trained(weights: Any) -> tuple[Any, ...]:
        trainer = nc.Trainer(nc.mlp([3, 8, 2], output=LOSSES[loss], seed=0, dtype=dtype), loss, nc.SGD(0.1))
        fit = trainer.fit(X, y, batch_size=10, epochs=2, sample_weight=weights, progress=False)
        value = trainer.model.loss_and_gradients(X, y, loss, weights)
        scores = (*fit["loss"], value, trainer.evaluate(X, y, weights)["loss"], trainer.step(X, y, weights))
        return scores, trainer.model.parameters.copy()

    tolerance = 4 * float(np.finfo(dtype).eps)
    for got, expected in zip(trained(weight * unit), trained(weight), strict=True):
        np.testing.assert_allclose(got, expected, rtol=50 * tolerance, atol=20 * tolerance)
    equal, none = trained(np.full(len(X), unit)), trained(None)
    assert np.allclose(equal[0], none[0], rtol=1e-14, atol=0)  # except for the last bits of sums over batches
    assert np.array_equal(equal[1], none[1])


@pytest.mark.parametrize("unit", [1e-44, 1e-39, 1e38])
@pytest.mark.parametrize("loss", ["mean_squared_error", "softmax_cross_entropy", "sigmoid_cross_entropy"])
def test_the_unit_does_not_matter_to_functions(unit: float, loss: str) -> None:
    prediction, target = (
        RANDOM.standard_normal((6, 3), np.float32),
        np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]],
    )
    function = getattr(nc.functional, f"{loss}_and_gradient")
    got, expected = (
        function(prediction, target, sample_weight=np.full(6, one, np.float32)) for one in (unit, 1.0)
    )
    assert got[0] == expected[0]
    assert np.array_equal(got[1], expected[1])


def test_weights_of_zero_count_for_nothing() -> None:
    weight = np.where(np.arange(64) < 32, 1e-200, 0.0)
    trainer, half = classifier(SIZES["small"]), classifier(SIZES["small"])
    for _ in range(3):
        trainer.step(X, LABELS, weight)
        half.step(X[:32], LABELS[:32])
    np.testing.assert_allclose(trainer.model.parameters, half.model.parameters, rtol=1e-5, atol=1e-6)


def test_a_batch_of_tiny_weights_beside_a_large_one_is_trained_on() -> None:
    weight = np.full(64, 1e-300)
    weight[0] = 1e300
    trainer = classifier(SIZES["small"])
    trainer.fit(X, LABELS, batch_size=16, sample_weight=weight, shuffle=False, progress=False)
    assert trainer.optimizer.state(trainer.model.store).steps == 4


# The shape of y, and a softmax of one --------------------------------------------------------------------


def absolute(y_true: Any, y_pred: Any) -> float:
    assert y_true.shape == y_pred.shape
    return float(np.abs(y_true - y_pred).mean())


@pytest.mark.parametrize(
    "shape",
    [lambda y: y, lambda y: y[:, None], list, lambda y: y.astype(np.float16), lambda y: y[::-1][::-1]],
)
@pytest.mark.parametrize("loss", ["mean_squared_error", lambda output, y: (1.0, (output - y) / len(y))])
def test_metrics_see_y_in_the_shape_of_the_output(shape: Any, loss: Any) -> None:
    y = X @ [1.0, -2.0, 0.5]
    trainer = nc.Trainer(nc.mlp([3, 16, 1], seed=0), loss, metrics=[absolute])
    history = trainer.fit(X, shape(y), validation_data=(X, shape(y)), epochs=2, progress=False)
    error = np.abs(trainer.model.predict(X)[:, 0] - y).mean()
    for value in (history["absolute"][-1], history["val_absolute"][-1], trainer.evaluate(X, y)["absolute"]):
        assert abs(value - error) < 1e-3


def test_python_losses_see_y_in_the_shape_of_the_output() -> None:
    shapes = []

    def loss(output: Any, y: Any) -> tuple[float, Any]:
        shapes.append((output.shape, y.shape))
        return float(((output - y) ** 2).mean()), 2 * (output - y) / output.size

    y = X[:, 0]
    trainer = nc.Trainer(nc.mlp([3, 1], seed=0), loss, nc.SGD(0.1))
    trainer.fit(X, y, epochs=30, batch_size=16, progress=False)
    trainer.step(X, y)
    trainer.evaluate(X, y)
    trainer.model.loss_and_gradients(X, y, loss)
    assert all(output == truth for output, truth in shapes)
    assert trainer.evaluate(X, y)["loss"] < 0.05


def test_metrics_of_several_outputs_see_the_shape_of_each() -> None:
    x = nc.Input(3)
    model = nc.Model(x, [nc.Dense(3, 1, name="one")(x), nc.Dense(3, 2, name="two")(x)], seed=0)
    losses = ["mean_squared_error", "softmax_cross_entropy"]
    seen = {}

    def shapes(y_true: Any, y_pred: Any) -> float:
        seen[y_pred.shape] = y_true.shape
        return 0.0

    trainer = nc.Trainer(model, losses, metrics=[shapes])
    trainer.fit(X, [X[:, 0], LABELS], progress=False)
    assert seen == {(64, 1): (64, 1), (64, 2): (64,)}


@pytest.mark.parametrize("y", [X[:, 0] > 0, (X[:, :1] > 0).astype(float), LABELS, LABELS[:, None]])
def test_a_softmax_of_one_names_sigmoid(y: Any) -> None:
    with pytest.raises(ValueError, match=r"two or more features.*got 1.*use sigmoid"):
        nc.mlp([3, 8, 1], output="softmax", seed=0)
    with pytest.raises(ValueError, match=r"two or more features.*got 1.*use sigmoid"):
        nc.Sequential(nc.Dense(3, 1), nc.LogSoftmax(), seed=0)
    model = nc.mlp([3, 8, 1], seed=0)
    message = r"two columns or more.*'softmax_cross_entropy'; got shape \(B, 1\); .*'sigmoid"
    with pytest.raises(ValueError, match=message):
        nc.Trainer(model, "softmax_cross_entropy").fit(X, y, progress=False)
    with pytest.raises(ValueError, match=message):
        model.loss_and_gradients(X, y, "softmax_cross_entropy")
    assert nc.functional.softmax(np.ones((2, 1), np.float32)).tolist() == [[1], [1]]
