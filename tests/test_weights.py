"""Sample weights: samples of weight 0 are ignored whatever they hold; outputs may have their own weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.typing import NDArray

import nncore as nc
from nncore import _core
from nncore import functional as F

RNG = np.random.default_rng(0)
ROWS, OUTPUTS = 40, 3
X = RNG.normal(size=(ROWS, 4))
COUNTED = np.arange(ROWS) % 3 > 0
WEIGHT = np.where(COUNTED, RNG.uniform(0.5, 2.0, ROWS), 0.0)
LOSSES = {entry["name"]: entry for entry in _core.entries["losses"]}


def target_of(loss: str) -> NDArray:
    return RNG.uniform(0.1, 0.9, (ROWS, _core.Loss(loss).target_features(4)))


def trainer_for(loss: str, dtype: Any = np.float64, **options: Any) -> nc.Trainer:
    ends = {"softmax": [nc.Softmax()], "sigmoid": [nc.Sigmoid()], None: []}[LOSSES[loss]["activation"]]
    model = nc.Sequential(
        nc.Dense(4, 5), nc.BatchNorm(5), nc.Tanh(), nc.Dense(5, 4), *ends, dtype=dtype, seed=1
    )
    return nc.Trainer(model, loss, **options)


def spoiled(array: NDArray, rows: NDArray, value: Any) -> NDArray:
    result = array.copy()
    result[rows] = value
    return result


def outcome(trainer: nc.Trainer, x: Any, y: Any, weight: Any) -> list[Any]:
    """All results of training and evaluation."""
    trainer.fit(x, y, 2, 8, sample_weight=weight, validation_data=(x, y, weight), progress=False)
    model = trainer.model
    results = [
        model.parameters.copy(),
        [trainer.history[name] for name in trainer.history if name != "seconds"],
    ]
    results += [trainer.step(x, y, weight), model.parameters.copy(), trainer.evaluate(x, y, weight)]
    results += [
        model.loss_and_gradients(x, y, trainer.objective.terms[0].loss, weight),
        model.gradients.copy(),
    ]
    return results


def assert_same(found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1e300])
@pytest.mark.parametrize("loss", LOSSES)
def test_weight_0_takes_no_part(loss: str, value: float, dtype: type) -> None:
    y, options = target_of(loss), {"metrics": ["accuracy"], "dtype": dtype}
    if LOSSES[loss]["takes_labels"]:
        y = y / y.sum(axis=1, keepdims=True)
    if y.shape[1] < 4:
        options["metrics"] = []
    x, given = spoiled(X, ~COUNTED, value), spoiled(y, ~COUNTED, value)
    expected = outcome(trainer_for(loss, **options), X[COUNTED], y[COUNTED], WEIGHT[COUNTED])
    assert_same(outcome(trainer_for(loss, **options), x, given, WEIGHT), expected)


@pytest.mark.parametrize("label", [4, -1, 2**62, -(2**63)])
def test_labels_of_weight_0_may_be_any(label: int) -> None:
    labels = RNG.integers(4, size=ROWS)
    expected = outcome(
        trainer_for("cross_entropy", metrics=["accuracy"]), X[COUNTED], labels[COUNTED], WEIGHT[COUNTED]
    )
    given = spoiled(labels, ~COUNTED, label)
    assert_same(outcome(trainer_for("cross_entropy", metrics=["accuracy"]), X, given, WEIGHT), expected)
    with pytest.raises(ValueError, match=rf"label {label} in row \d"):
        trainer_for("cross_entropy").fit(X, given, sample_weight=WEIGHT + 1, progress=False)


def masked(array: NDArray) -> Any:
    result = np.ma.masked_array(array, mask=np.zeros(array.shape, bool), copy=True)
    result.mask[~COUNTED] = True
    return result


FORMS: dict[str, Callable[[NDArray], Any]] = {
    "pandas": lambda y: pd.Series(y, dtype="Int64").mask(pd.Series(~COUNTED)),
    "pandas on arrow": lambda y: (
        pd.Series(y, dtype="Int64").mask(pd.Series(~COUNTED)).astype("int8[pyarrow]")
    ),
    "polars": lambda y: pl.Series([int(v) if keep else None for v, keep in zip(y, COUNTED, strict=True)]),
    "masked": masked,
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_of_weight_0_may_be_missing(form: str) -> None:
    labels = RNG.integers(4, size=ROWS)
    expected = outcome(trainer_for("cross_entropy"), X[COUNTED], labels[COUNTED], WEIGHT[COUNTED])
    given = FORMS[form](labels)
    assert_same(outcome(trainer_for("cross_entropy"), X, given, WEIGHT), expected)
    assert_same(outcome(trainer_for("cross_entropy"), masked(X), given, pl.Series(WEIGHT)), expected)
    with pytest.raises(
        ValueError, match=r"^y must have no (missing values|masked entries); got 14, the first in row 0"
    ):
        trainer_for("cross_entropy").fit(X, given, sample_weight=WEIGHT + 1, progress=False)


def test_indices_of_weight_0_may_be_any() -> None:
    rows, labels = RNG.integers(5, size=(ROWS, 2)), RNG.integers(2, size=ROWS)
    outcomes = []
    for x, y, weight in (
        (spoiled(rows, ~COUNTED, -7), labels, WEIGHT),
        (rows[COUNTED], labels[COUNTED], WEIGHT[COUNTED]),
    ):
        inputs = nc.Input(2, is_integer=True)
        model = nc.Model(inputs, nc.Dense(6, 2)(nc.Embedding(5, 3)(inputs)), seed=0)
        outcomes.append(outcome(nc.Trainer(model, "softmax_cross_entropy"), x, y, weight))
    assert_same(*outcomes)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("shuffle", [False, True])
def test_epochs_are_those_of_the_samples_that_count(batch_size: int, shuffle: bool) -> None:
    runs = []
    for x, weight in ((spoiled(X, ~COUNTED, np.nan), COUNTED.astype(float)), (X[COUNTED], None)):
        trainer = nc.Trainer(nc.mlp([4, 150, 4], "relu", seed=0), "mean_squared_error", nc.SGD(0.01))
        trainer.fit(x, x, 2, batch_size, shuffle=shuffle, sample_weight=weight, progress=False)
        runs.append((trainer.model.parameters.tobytes(), trainer.history["loss"]))
        assert trainer.optimizer.state(trainer.model.store).steps == 2 * -(-int(COUNTED.sum()) // batch_size)
    assert runs[0] == runs[1]


def test_nothing_takes_part_where_all_weights_are_0() -> None:
    trainer = trainer_for("mean_squared_error")
    before, zeros = trainer.model.parameters.copy(), np.zeros(ROWS)
    calls = (
        lambda: trainer.fit(X, X, sample_weight=zeros, progress=False),
        lambda: trainer.step(X, X, zeros),
        lambda: trainer.evaluate(X, X, zeros),
        lambda: trainer.model.loss_and_gradients(X, X, "mse", zeros),
        lambda: trainer.fit(X, X, validation_data=(X, X, zeros), progress=False),
    )
    for call in calls:
        with pytest.raises(
            ValueError, match=r"sample_weight must be positive for at least one sample; got 0 for all$"
        ):
            call()
    assert np.array_equal(trainer.model.parameters, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", LOSSES)
def test_functions_give_nothing_for_weight_0(loss: str, dtype: type) -> None:
    prediction, y = RNG.uniform(0.1, 0.9, (ROWS, 4)).astype(dtype), target_of(loss).astype(dtype)
    weight = WEIGHT.astype(dtype)
    run = getattr(F, f"{loss}_and_gradient")
    value, gradient = run(prediction, y, sample_weight=weight)
    for spoil in (np.nan, np.inf, -np.inf):
        given = spoiled(prediction, ~COUNTED, spoil), spoiled(y, ~COUNTED, spoil)
        again, same = run(*given, sample_weight=weight)
        assert again == value
        assert same.tobytes() == gradient.tobytes()
        values = getattr(F, loss)(*given, sample_weight=weight, reduction="none")
        assert np.isfinite(values).all()
        assert not values[~COUNTED].any()
        added = np.ones_like(prediction)
        run(*given, sample_weight=weight, out=added, accumulate=True)
        assert np.array_equal(added[~COUNTED], np.ones_like(added)[~COUNTED])
    assert not gradient[~COUNTED].any()


# Weights by output ------------------------------------------------------------------------------------------

KNOWN = np.arange(ROWS) % 4 > 1
BY_OUTPUT = np.stack([WEIGHT, KNOWN.astype(float)], axis=1)
LEVEL, KIND = X[:, :1] * 2, RNG.integers(3, size=ROWS)


def two_tasks(**options: Any) -> nc.Trainer:
    x = nc.Input(4)
    hidden = nc.Tanh()(nc.Dense(4, 6)(x))
    outputs = nc.Dense(6, 1, name="level")(hidden), nc.Softmax(name="kind")(nc.Dense(6, 3)(hidden))
    model = nc.Model(x, list(outputs), dtype=np.float64, seed=0)
    return nc.Trainer(model, ["mse", "cross_entropy"], nc.SGD(0.1), **options)


SPELLINGS: dict[str, Any] = {
    "list": [WEIGHT, KNOWN],
    "tuple": (WEIGHT, KNOWN.astype(np.float32)),
    "list of other kinds": [WEIGHT.tolist(), pl.Series(KNOWN)],
    "dict": {"kind": KNOWN, "level": WEIGHT},
    "dict of columns": {"kind": KNOWN.reshape(-1, 1), "level": pd.Series(WEIGHT)},
    "array": BY_OUTPUT,
    "float32 in columns": np.asfortranarray(BY_OUTPUT),
    "frame": pd.DataFrame({"kind": KNOWN, "level": WEIGHT}),
    "frame without names": pd.DataFrame(BY_OUTPUT),
    "polars": pl.DataFrame({"kind": KNOWN, "level": WEIGHT}),
}
NO_LEVEL, NO_KIND = WEIGHT == 0, ~KNOWN
Y = [spoiled(LEVEL, NO_LEVEL, np.nan), spoiled(KIND, NO_KIND, 99)]


@pytest.mark.parametrize("form", SPELLINGS)
def test_weights_by_output(form: str) -> None:
    weight, found, expected = SPELLINGS[form], two_tasks(), two_tasks()
    loss = found.model.loss_and_gradients(X, Y, ["mse", "cross_entropy"], weight)
    total, gradients = 0.0, 0.0
    for place, (rows, own) in enumerate(((~NO_LEVEL, WEIGHT), (KNOWN, None))):
        losses = [None, None]
        losses[place] = expected.objective.terms[place].loss
        model = expected.model
        total += model.loss_and_gradients(X[rows], Y[place][rows], losses, None if own is None else own[rows])
        gradients = gradients + model.gradients
    assert loss == pytest.approx(total, rel=1e-14)
    np.testing.assert_allclose(found.model.gradients, gradients, rtol=1e-12, atol=1e-15)
    assert found.evaluate(X, Y, weight)["loss"] == pytest.approx(total, rel=1e-14)
    runs = []
    for given in (weight, [WEIGHT, KNOWN]):
        trainer = two_tasks(metrics=["accuracy"])
        trainer.fit(X, Y, 2, 8, sample_weight=given, validation_data=(X, Y, given), progress=False)
        trainer.step(X, Y, given)
        runs.append((trainer.model.parameters.tobytes(), trainer.history["val_loss"]))
    assert runs[0] == runs[1]


def test_no_weights_for_an_output_are_ones() -> None:
    runs = []
    for weight in (
        [WEIGHT, None],
        (WEIGHT, np.ones(ROWS)),
        {"level": WEIGHT},
        {"level": WEIGHT, "kind": None},
    ):
        trainer = two_tasks()
        trainer.fit(X, [Y[0], KIND], 2, 8, sample_weight=weight, progress=False)
        runs.append(trainer.model.parameters.tobytes())
    assert len(set(runs)) == 1


def test_one_array_is_for_all_outputs() -> None:
    runs = []
    for weight in (WEIGHT, [WEIGHT, WEIGHT], np.stack([WEIGHT, WEIGHT], 1)):
        trainer = two_tasks()
        trainer.fit(X, [LEVEL, KIND], 2, 8, sample_weight=weight, progress=False)
        runs.append(trainer.model.parameters.tobytes())
    assert len(set(runs)) == 1


def test_samples_without_any_weight_are_as_if_not_there() -> None:
    either = (WEIGHT > 0) | KNOWN
    runs = []
    for rows in (slice(None), either):
        trainer = two_tasks(metrics=["accuracy"])
        y = [part[rows] for part in Y]
        x = X[rows] if rows is either else spoiled(X, ~either, np.nan)
        trainer.fit(x, y, 2, 8, sample_weight=BY_OUTPUT[rows], progress=False)
        runs.append(
            (trainer.model.parameters.tobytes(), trainer.history["loss"], trainer.history["kind_accuracy"])
        )
    assert not either.all()
    assert runs[0] == runs[1]


def test_the_loss_of_an_epoch_is_the_sum_of_the_means_of_its_outputs() -> None:
    trainer = nc.Trainer(two_tasks().model, ["mse", "cross_entropy"], nc.SGD(1e-300))  # changes nothing
    trainer.fit(X, Y, 1, 7, sample_weight=BY_OUTPUT, progress=False)
    assert trainer.history["loss"][0] == pytest.approx(trainer.evaluate(X, Y, BY_OUTPUT)["loss"], rel=1e-12)


def test_metrics_see_the_samples_that_have_weight_in_their_output() -> None:
    seen = []

    def count(y_true: NDArray, y_pred: NDArray) -> float:
        seen.append(len(y_true))
        assert np.isfinite(y_true).all()
        return 0.0

    trainer = two_tasks(metrics=[count])
    trainer.evaluate(X, Y, BY_OUTPUT)
    assert seen == [int((WEIGHT > 0).sum()), int(KNOWN.sum())]


def test_an_output_may_have_no_weight_at_all() -> None:
    trainer = two_tasks(metrics=["accuracy"])
    result = trainer.evaluate(X, [LEVEL, spoiled(KIND, COUNTED, -5)], [WEIGHT, np.zeros(ROWS)])
    alone = nc.Trainer(trainer.model, ["mse", None]).evaluate(X, LEVEL, WEIGHT)
    assert result["loss"] == alone["loss"]
    assert np.isnan(result["kind_accuracy"])


PART, GAP = KNOWN[:3], pl.Series([None, *[1] * (ROWS - 1)])
WRONG: dict[str, tuple[Any, str]] = {
    "weights of classes": ({0: 1.0, 1: 3.0}, r"by output name \(level, kind\); got a dict with 0"),
    "another name": ({"leval": WEIGHT}, "got a dict with 'leval'"),
    "three columns": (np.ones((ROWS, 3)), r"shape \(40,\), or \(40, 2\) by output; got \(40, 3\)"),
    "rows of one": ([WEIGHT, PART], r"sample_weight\[1\] must have shape \(40,\); got \(3,\)"),
    "rows of one by name": ({"kind": PART}, r"sample_weight\['kind'\] must have shape"),
    "text in one": ({"kind": ["a"] * ROWS}, r"sample_weight\['kind'\] must hold"),
    "below 0 in one": ([WEIGHT, -1.0 * KNOWN], r"sample_weight\[1\] must be finite and at least 0; got -1"),
    "NaN in one": ([WEIGHT * np.nan, KNOWN], r"sample_weight\[0\] must be finite .*; got nan in row"),
    "0 in all": ([0 * WEIGHT, 0 * WEIGHT], "must be positive for at least one sample; got 0 for all"),
    "missing in one": ([WEIGHT, GAP], r"sample_weight\[1\] must have no missing values; .* row 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_weights_that_are_none(case: str) -> None:
    weight, message = WRONG[case]
    trainer = two_tasks()
    before = trainer.model.parameters.copy()
    calls = (
        lambda: trainer.fit(X, [LEVEL, KIND], sample_weight=weight, progress=False),
        lambda: trainer.step(X, [LEVEL, KIND], weight),
        lambda: trainer.evaluate(X, [LEVEL, KIND], weight),
        lambda: trainer.fit(X, [LEVEL, KIND], validation_data=(X, [LEVEL, KIND], weight), progress=False),
    )
    for call in calls:
        with pytest.raises((TypeError, ValueError), match=message):
            call()
    assert np.array_equal(trainer.model.parameters, before)
