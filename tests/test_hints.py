"""Errors help: they name the loss that fits an output, the missing column, or the nearest name."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nncore as nc
from nncore import _core
from nncore import functional as F

X, LABELS = np.ones((4, 3)), np.array([0, 1, 1, 0])


def model_ending_in(*end: nc.Layer, outputs: int = 2) -> nc.Model:
    return nc.Sequential(nc.Dense(3, outputs), *end, seed=0)


CROSS_ENTROPIES = "cross_entropy", "softmax_cross_entropy", "binary_cross_entropy", "sigmoid_cross_entropy"
FITTING = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}
ENDS = {
    "softmax": nc.Softmax,
    "sigmoid": nc.Sigmoid,
    "tanh": nc.Tanh,
    "relu": nc.ReLU,
    "log_softmax": nc.LogSoftmax,
    "dense": None,
    "dropout": nc.Dropout,
}


@pytest.mark.parametrize("loss", CROSS_ENTROPIES)
@pytest.mark.parametrize("end", ENDS)
def test_a_loss_that_does_not_fit_names_the_one_that_does(end: str, loss: str) -> None:
    make = ENDS[end]
    model = model_ending_in(*([] if make is None else [make()]))
    right = FITTING.get(end)
    takes_logits = loss in ("softmax_cross_entropy", "sigmoid_cross_entropy")
    if loss == right or (takes_logits and right is None):
        nc.Trainer(model, loss)
        return
    with pytest.raises(ValueError, match=f"which ends in '{end}'; got '{loss}', which takes ") as raised:
        nc.Trainer(model, loss)
    text = str(raised.value)
    others = [name for name in CROSS_ENTROPIES if re.search(rf"'{name}'", text) and name != loss]
    if right is not None:
        assert text.startswith(f"loss must be '{right}' for output ")
        assert others == [right]
    else:
        of_logits = {
            "cross_entropy": "softmax_cross_entropy",
            "binary_cross_entropy": "sigmoid_cross_entropy",
        }
        assert others == [of_logits[loss]]
        assert "end the model in '" in text


def test_each_output_is_named() -> None:
    x = nc.Input(3)
    model = nc.Model(
        x, [nc.Softmax(name="kind")(nc.Dense(3, 2)(x)), nc.Sigmoid(name="flag")(nc.Dense(3, 1)(x))]
    )
    with pytest.raises(ValueError, match="loss must be 'binary_cross_entropy' for output 'flag'"):
        nc.Trainer(model, {"kind": "cross_entropy", "flag": "cross_entropy"})
    with pytest.raises(ValueError, match="loss must be 'cross_entropy' for output 'kind'"):
        nc.Trainer(model, ["bce", "bce"])


@pytest.mark.parametrize("given", ["MSE", "mse ", "Mse", "msee", "rmse"])
def test_short_names_of_losses_are_among_the_names(given: str) -> None:
    with pytest.raises(ValueError, match=r"^loss must be one of .*, mse, .*mae.* \(did you mean 'mse'\?\)$"):
        nc.Trainer(model_ending_in(), given)


def of_names(argument: str, given: str, near: str | None = None) -> str:
    hint = "" if near is None else rf" \(did you mean '{near}'\?\)"
    return rf"^{argument} must be one of .*; got '{given}'{hint}$"


NAMES: dict[str, tuple[Any, str]] = {
    "activation": (lambda: nc.mlp([3, 2, 2], "ReLU"), of_names("activation", "ReLU", "relu")),
    "output": (lambda: nc.mlp([3, 2], output="soft-max"), of_names("output", "soft-max", "softmax")),
    "optimizer": (
        lambda: nc.Trainer(model_ending_in(), "mse", "ADAM"),
        of_names("optimizer", "ADAM", "adam"),
    ),
    "initializer": (
        lambda: nc.mlp([3, 2], weight_initializer="He_Normal"),
        of_names("weight_initializer", "He_Normal", "he_normal"),
    ),
    "activation of a function": (
        lambda: F.dense_forward(X, X, activation="sigmoidd"),
        of_names("activation", "sigmoidd", "sigmoid"),
    ),
    "reduction": (
        lambda: F.mean_squared_error(X, X, reduction="average"),
        of_names("reduction", "average"),
    ),
    "word": (lambda: nc.GELU(approximate="Tanh"), of_names("approximate", "Tanh", "tanh")),
    "kind of a loss": (lambda: _core.Loss("msq"), of_names("loss", "msq")),
    "kind of an optimizer": (lambda: _core.Optimizer("adamm"), of_names("kind", "adamm", "adam")),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_that_nothing_has(case: str) -> None:
    call, message = NAMES[case]
    with pytest.raises(ValueError, match=message):
        call()


def fit(callback: nc.Callback, **options: Any) -> None:
    trainer = nc.Trainer(model_ending_in(nc.Softmax()), "cross_entropy", metrics=["accuracy"])
    before = trainer.model.parameters.copy()
    try:
        trainer.fit(X, LABELS, progress=False, callbacks=[callback], **options)
    finally:
        assert np.array_equal(trainer.model.parameters, before)


VALIDATED = {"validation_data": (X, LABELS)}
MONITORS = {
    "validation loss without data": (
        "val_loss",
        {},
        "monitor must be one of loss, accuracy, seconds, as the fit has no validation_data; got 'val_loss'$",
    ),
    "validation metric without data": (
        "val_accuracy",
        {},
        "as the fit has no validation_data; got 'val_accuracy'$",
    ),
    "column of no metric": (
        "val_auc",
        VALIDATED,
        "monitor must be one of loss, .*, val_accuracy, .*; got 'val_auc'",
    ),
    "typo": ("val_acuracy", VALIDATED, r"got 'val_acuracy' \(did you mean 'val_accuracy'\?\)$"),
    "typo of a loss": ("val_los", VALIDATED, r"got 'val_los' \(did you mean 'val_loss'\?\)$"),
    "which way is better": ("seconds", {}, "mode must be 'min' or 'max' for 'seconds', .*; got 'auto'$"),
}


@pytest.mark.parametrize("make", [nc.EarlyStopping, nc.Checkpoint])
@pytest.mark.parametrize("case", MONITORS)
def test_monitors(case: str, make: Any, tmp_path: Path) -> None:
    monitor, options, message = MONITORS[case]
    given = {"patience": 3} if make is nc.EarlyStopping else {"path": tmp_path / "best"}
    with pytest.raises(ValueError, match=message):
        fit(make(monitor=monitor, **given), **options)
    assert not (tmp_path / "best").exists()


VALIDATION = {
    "labels": ((X, LABELS + 1), "validation y must hold labels from 0 to 1; got label 2 in row 1"),
    "labels of floats": ((X, LABELS / 2), "validation y must be class indices of an integer dtype"),
    "shape of y": ((X, np.ones((4, 3))), r"validation y must have shape \(4, 2\)"),
    "rows of y": ((X, LABELS[:2]), "validation y must have 4 samples, like validation x; got 2"),
    "no y": ((X, None), "validation y must be an array"),
    "features of x": ((X[:, :2], LABELS), r"validation x must have shape \(B, 3\)"),
    "not finite x": ((X * np.nan, LABELS), "validation x must be finite; got nan in row 0"),
    "weights below 0": ((X, LABELS, -np.ones(4)), "validation sample_weight must be finite and at least 0"),
    "no weight": (
        (X, LABELS, np.zeros(4)),
        "validation sample_weight must be positive for at least one sample",
    ),
}


@pytest.mark.parametrize("case", VALIDATION)
def test_validation_data_are_called_so(case: str) -> None:
    data, message = VALIDATION[case]
    with pytest.raises((TypeError, ValueError, FloatingPointError), match=f"^{message}"):
        fit(nc.Callback(), validation_data=data)
