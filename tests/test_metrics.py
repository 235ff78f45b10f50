"""Metrics: their names, and that the library's metrics process samples in chunks."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

import nncore as nc
from nncore.training import measuring

RNG = np.random.default_rng(0)
SAMPLES = 3000
X = RNG.normal(size=(SAMPLES, 3))


def trainer(loss: str, outputs: int = 4, **options: Any) -> nc.Trainer:
    end = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}.get(loss, "identity")
    return nc.Trainer(nc.mlp([3, 8, outputs], "tanh", end, seed=0), loss, **options)


LABELS = {
    "classes": ("cross_entropy", 4, RNG.integers(4, size=SAMPLES), nc.accuracy),
    "one-hot rows": ("softmax_cross_entropy", 4, np.eye(4)[RNG.integers(4, size=SAMPLES)], nc.accuracy),
    "probabilities": ("binary_cross_entropy", 4, RNG.integers(2, size=(SAMPLES, 4)), nc.binary_accuracy),
    "one output": ("binary_cross_entropy", 1, RNG.integers(2, size=SAMPLES), nc.binary_accuracy),
    "logits": (
        "sigmoid_cross_entropy",
        4,
        RNG.integers(2, size=(SAMPLES, 4)),
        lambda y, z: nc.binary_accuracy(y, z, 0.0),
    ),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 256, 2999, 3000, 10**6])
@pytest.mark.parametrize("case", LABELS)
def test_accuracy_in_chunks_is_that_of_all(case: str, rows: int, weighted: bool, monkeypatch: Any) -> None:
    loss, outputs, y, metric = LABELS[case]
    monkeypatch.setattr(measuring, "CHUNK_OUTPUTS", rows * outputs)
    monkeypatch.setattr(measuring, "FEWEST_ROWS", 1)
    weight = RNG.integers(2, size=SAMPLES) if weighted else None
    counted = slice(None) if weight is None else weight > 0
    measured = trainer(loss, outputs, metrics=["accuracy"])
    expected = metric(y[counted], measured.model.predict(X[counted]))
    assert measured.evaluate(X, y, weight)["accuracy"] == expected
    assert 0 < expected < 1


def test_names_of_metrics() -> None:
    y = RNG.integers(2, size=(SAMPLES, 4))
    named = trainer("binary_cross_entropy", metrics=["accuracy", "binary_accuracy"])
    given = trainer("binary_cross_entropy", metrics=[nc.accuracy, nc.binary_accuracy])
    logs = named.evaluate(X, y)
    assert logs["accuracy"] == logs["binary_accuracy"] == given.evaluate(X, y)["binary_accuracy"]
    assert given.evaluate(X, y)["accuracy"] == nc.accuracy(y, given.model.predict(X))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("acuracy", r"one of accuracy, binary_accuracy; got 'acuracy' \(did you mean 'accuracy'\?\)$"),
        ("Accuracy", r"got 'Accuracy' \(did you mean 'accuracy'\?\)$"),
        ("binary_acc", r"got 'binary_acc' \(did you mean 'binary_accuracy'\?\)$"),
        (
            "mae",
            r"metric must be a function \(y_true, y_pred\) or one of accuracy, binary_accuracy; got 'mae'$",
        ),
    ],
)
def test_a_typo_is_answered_with_all_there_is(given: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trainer("mean_squared_error", metrics=[given])


@pytest.mark.parametrize("metric", ["accuracy", nc.accuracy])
def test_many_classes_take_little_memory(metric: Any) -> None:
    classes, samples = 1000, 20_000
    x, y = RNG.normal(size=(samples, 2)), RNG.integers(classes, size=samples)
    measured = nc.Trainer(
        nc.mlp([2, 4, classes], output="softmax", seed=0), "cross_entropy", metrics=[metric]
    )
    outputs = samples * classes * measured.model.dtype.itemsize
    for call in (
        lambda: measured.evaluate(x, y),
        lambda: measured.fit(x[:8], y[:8], validation_data=(x, y), progress=False),
    ):
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < outputs / 2


def test_other_functions_see_all_outputs_at_once(monkeypatch: Any) -> None:
    monkeypatch.setattr(measuring, "CHUNK_OUTPUTS", 1)
    monkeypatch.setattr(measuring, "FEWEST_ROWS", 1)
    seen = []

    def median(y_true: Any, y_pred: Any) -> float:
        seen.append((y_true.shape, y_pred.shape))
        return float(np.median(y_pred - y_true))

    measured = trainer("mean_squared_error", 2, metrics=[median, "accuracy"])
    logs = measured.evaluate(X, X[:, :2])
    assert seen == [((SAMPLES, 2), (SAMPLES, 2))]
    assert logs["median"] == np.median(measured.model.predict(X) - X[:, :2])


@pytest.mark.parametrize("answer", [None, "0.5", [1.0, 2.0], nc.accuracy])
def test_a_metric_returns_a_number(answer: Any) -> None:
    def metric(y_true: Any, y_pred: Any) -> Any:
        return answer

    with pytest.raises(TypeError, match=r"^the value of metric 'metric' must be a number; got "):
        trainer("mean_squared_error", 2, metrics=[metric]).evaluate(X, X[:, :2])


@pytest.mark.parametrize("validates", [False, True])
def test_a_metric_that_does_not_fit_is_told_of_before_anything_is_trained(validates: bool) -> None:
    x, rows, labels = np.ones((6, 2)), np.ones((6, 3)), np.array([0, 1, 2, 0, 1, 2])
    one = nc.Trainer(nc.mlp([2, 3], seed=0), "softmax_cross_entropy", "sgd", metrics=["binary_accuracy"])
    before = one.model.parameters.copy()
    validation = (x, labels) if validates else None
    with pytest.raises(ValueError, match="y_true must have the shape of y_pred"):
        one.fit(x, rows if validates else labels, validation_data=validation, progress=False)
    assert np.array_equal(one.model.parameters, before)
