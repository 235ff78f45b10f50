"""numpy.ma arrays count as plain data if nothing is masked, and are rejected otherwise."""

import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import nncore as nc
from nncore import _core

X = np.random.default_rng(0).normal(size=(4, 3))
Y, LABELS, WEIGHT = X[:, :2].copy(), np.array([0, 1, 1, 0]), np.array([1.0, 2.0, 0.5, 1.0])
FILL = 1e20  # the value under a mask


def masked(array: Any, *places: Any) -> Any:
    """A masked array with its own mask and FILL under it."""
    result = np.ma.masked_array(array, mask=np.zeros(np.shape(array), bool), copy=True)
    for place in places:
        result.data[place] = FILL if result.dtype.kind == "f" else 1
        result.mask[place] = True
    return result


def classifier() -> nc.Trainer:
    return nc.Trainer(nc.mlp([3, 4, 2], "tanh", "softmax", seed=0), "cross_entropy")


def snapshot(trainer: nc.Trainer) -> list[Any]:
    state = trainer.optimizer.state(trainer.model.store)
    arrays = [trainer.model.parameters, trainer.model.gradients, *state.slots.values()]
    return [*(array.tobytes() for array in arrays), state.steps, trainer.history.epochs]


class Variable:
    """An object that converts itself to an array, like netCDF4 variables."""

    def __init__(self, array: NDArray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray:
        return self.array


def own_loss(gradient: NDArray) -> Callable[[nc.Trainer], object]:
    return lambda t: nc.Trainer(t.model, lambda output, y: (1.0, gradient), t.optimizer).step(X, Y)


ROW_AND_COLUMN, ROW = masked(X, (2, 1), (3, 0)), masked(LABELS, 1, 3)
SECOND, ELSEWHERE = "2, the first in row 2, column 1", "2, the first in row 1"
OUT = masked(np.zeros((4, 2), np.float32), (2, 1), (3, 0))
CASES: dict[str, tuple[Any, str, str]] = {
    "x": (lambda t: t.fit(ROW_AND_COLUMN, LABELS, progress=False), "x", SECOND),
    "x as a list": (lambda t: t.fit([*ROW_AND_COLUMN], LABELS, progress=False), "x", SECOND),
    "y": (lambda t: t.fit(X, ROW, progress=False), "y", ELSEWHERE),
    "y as rows": (lambda t: t.fit(X, masked(Y, (2, 1), (3, 1)), progress=False), "y", SECOND),
    "y as a list": (lambda t: t.fit(X, [*masked(Y, (2, 1), (3, 1))], progress=False), "y", SECOND),
    "weight": (
        lambda t: t.fit(X, LABELS, sample_weight=masked(WEIGHT, 1, 3), progress=False),
        "sample_weight",
        ELSEWHERE,
    ),
    "validation x": (
        lambda t: t.fit(X, LABELS, validation_data=(ROW_AND_COLUMN, LABELS), progress=False),
        "validation x",
        SECOND,
    ),
    "validation y": (
        lambda t: t.fit(X, LABELS, validation_data=(X, ROW), progress=False),
        "validation y",
        ELSEWHERE,
    ),
    "validation weight": (
        lambda t: t.fit(X, LABELS, validation_data=(X, LABELS, masked(WEIGHT, 1, 3)), progress=False),
        "validation sample_weight",
        ELSEWHERE,
    ),
    "x of step": (lambda t: t.step(ROW_AND_COLUMN, LABELS), "x", SECOND),
    "y of step": (lambda t: t.step(X, ROW), "y", ELSEWHERE),
    "weight of step": (lambda t: t.step(X, LABELS, masked(WEIGHT, 1, 3)), "sample_weight", ELSEWHERE),
    "x of evaluate": (lambda t: t.evaluate(ROW_AND_COLUMN, LABELS), "x", SECOND),
    "y of evaluate": (lambda t: t.evaluate(X, ROW), "y", ELSEWHERE),
    "weight of evaluate": (
        lambda t: t.evaluate(X, LABELS, masked(WEIGHT, 1, 3)),
        "sample_weight",
        ELSEWHERE,
    ),
    "x of a loss": (
        lambda t: t.model.loss_and_gradients(ROW_AND_COLUMN, LABELS, "cross_entropy"),
        "x",
        SECOND,
    ),
    "y of a loss": (lambda t: t.model.loss_and_gradients(X, ROW, "cross_entropy"), "y", ELSEWHERE),
    "gradient of an own loss": (
        own_loss(masked(Y, (2, 1), (3, 0))),
        "the gradient that the loss of output '3' returns",
        SECOND,
    ),
    "x of predict": (lambda t: t.model.predict(ROW_AND_COLUMN), "x", SECOND),
    "one sample": (lambda t: t.model.predict(masked(X[0], 1, 2)), "x", "2, the first in column 1"),
    "x as a tuple": (lambda t: t.model.predict(tuple(ROW_AND_COLUMN)), "x", SECOND),
    "x as another sequence": (lambda t: t.model.predict(deque(ROW_AND_COLUMN)), "x", SECOND),
    "x in part of masked rows": (
        lambda t: t.model.predict([[1, 2, 3], X[0], ROW_AND_COLUMN[2], ROW_AND_COLUMN[3]]),
        "x",
        SECOND,
    ),
    "x of float32": (lambda t: t.model.predict(ROW_AND_COLUMN.astype(np.float32)), "x", SECOND),
    "x of integers": (lambda t: t.model.predict(masked(X.astype(int), (2, 1), (3, 0))), "x", SECOND),
    "x columnwise": (
        lambda t: t.model.predict(np.ma.masked_array(np.asfortranarray(X), mask=ROW_AND_COLUMN.mask)),
        "x",
        SECOND,
    ),
    "x by its own method": (lambda t: t.model.predict(Variable(ROW_AND_COLUMN)), "x", SECOND),
    "x by name": (lambda t: t.model.predict({"input": ROW_AND_COLUMN}), "x['input']", SECOND),
    "x of forward": (lambda t: t.model.forward(ROW_AND_COLUMN), "x", SECOND),
    "out": (lambda t: t.model.predict(X, out=OUT), "out", SECOND),
    "parameters": (
        lambda t: setattr(t.model, "parameters", masked(t.model.parameters, 1, 5)),
        "parameters",
        ELSEWHERE,
    ),
    "gradients": (
        lambda t: setattr(t.model, "gradients", masked(t.model.gradients, 1, 5)),
        "gradients",
        ELSEWHERE,
    ),
    "weight of a layer": (
        lambda t: setattr(t.model[0], "weight", masked(t.model[0].weight, (2, 1), (3, 0))),
        "weight",
        SECOND,
    ),
    "bias of a layer": (
        lambda t: setattr(t.model[0], "bias", masked(t.model[0].bias, 1, 3)),
        "bias",
        ELSEWHERE,
    ),
    "truth of a metric": (lambda t: nc.accuracy(ROW, np.zeros((4, 2))), "y_true", ELSEWHERE),
    "prediction of a metric": (lambda t: nc.accuracy(LABELS, masked(Y, (2, 1), (3, 0))), "y_pred", SECOND),
    "truth of binary accuracy": (
        lambda t: nc.binary_accuracy(masked(Y, (2, 1), (3, 0)), Y),
        "y_true",
        SECOND,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_masked_entries_are_refused(case: str) -> None:
    call, argument, found = CASES[case]
    trainer, out = classifier(), OUT.data.copy()
    before = snapshot(trainer)
    message = f"{argument} must have no masked entries; got {found}: fill them by .filled(value), or drop"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        call(trainer)
    assert snapshot(trainer) == before
    assert np.array_equal(OUT.data, out)


def test_the_gradient_of_backward() -> None:
    model = classifier().model
    model.forward(X)
    before = model.gradients.copy()
    wrong = masked(Y, (2, 1), (3, 0))
    for given in (wrong, wrong.astype(np.float32), [*wrong]):
        with pytest.raises(ValueError, match=rf"^grad_output must have no masked entries; got {SECOND}"):
            model.backward(given)
        assert np.array_equal(model.gradients, before)
    model.backward(masked(Y))  # the forward pass is still available
    assert model.gradients.any()


@pytest.mark.parametrize("form", [list, tuple, lambda pair: dict(zip(("left", "right"), pair, strict=True))])
def test_several_inputs(form: Any) -> None:
    left, right = nc.Input(3, name="left"), nc.Input(3, name="right")
    model = nc.Model([left, right], [nc.Dense(3, 2)(left + right), nc.Dense(3, 2)(left)], seed=0)
    expected = model.predict([X, X])
    assert np.array_equal(model.predict(form((masked(X), masked(X)))), expected)
    name = re.escape("x['right']" if form is not list and form is not tuple else "x[1]")
    for call in (model.predict, model.forward):
        with pytest.raises(ValueError, match=f"^{name} must have no masked entries; got {SECOND}"):
            call(form((masked(X), ROW_AND_COLUMN)))
    outs = [np.zeros((4, 2), np.float32), OUT]
    with pytest.raises(ValueError, match=rf"^out\[1\] must have no masked entries; got {SECOND}"):
        model.predict([X, X], out=outs)
    assert not outs[0].any()
    trainer = nc.Trainer(model, ["mean_squared_error"] * 2)
    with pytest.raises(ValueError, match=rf"^y\[1\] must have no masked entries; got {SECOND}"):
        trainer.fit([X, X], [Y, masked(Y, (2, 1), (3, 0))], progress=False)


FORMS: dict[str, Callable[[NDArray], Any]] = {
    "a mask of False": lambda a: np.ma.masked_array(a, mask=False),
    "no mask": np.ma.masked_array,
    "a mask of its own": masked,
    "a hard mask": lambda a: np.ma.masked_array(a, hard_mask=True),
    "rows": lambda a: [*masked(a)] if a.ndim == 2 else masked(a),
    "its own method": lambda a: Variable(masked(a)),
}


@pytest.mark.parametrize("form", FORMS)
def test_without_masked_entries_they_are_data(form: str) -> None:
    seen: list[type] = []  # the types seen by a metric

    def metric(y_true: Any, y_pred: Any) -> float:
        seen.extend((type(y_true), type(y_pred)))
        return nc.accuracy(y_true, y_pred)

    results = []
    for make in (np.asarray, FORMS[form]):
        trainer = nc.Trainer(classifier().model, "cross_entropy", metrics=[metric])
        x, y, weight = make(X), make(LABELS), make(WEIGHT)
        trainer.fit(x, y, 2, 2, sample_weight=weight, validation_data=(x, y, weight), progress=False)
        trainer.step(x, y, weight)
        model = trainer.model
        model.loss_and_gradients(x, y, "cross_entropy", weight)
        outputs = [model.predict(x), model.forward(x), model.gradients.copy(), model.backward(make(Y))]
        model[0].weight = make(np.ones((4, 3)))
        model[0].bias = make(np.ones(4))
        outputs += [model.parameters.copy(), trainer.evaluate(x, y)]
        model.parameters = make(model.parameters * 2)
        results.append([*outputs, model.parameters.copy()])
        assert all(type(output) is not np.ma.MaskedArray for output in outputs)
    for plain, other in zip(*results, strict=True):
        assert np.array_equal(plain, other)
    assert set(seen) == {np.ndarray}


def test_an_out_without_masked_entries_is_filled() -> None:
    model = classifier().model
    out = masked(np.zeros((4, 2), np.float32))
    assert model.predict(X, out=out) is out
    assert np.array_equal(out.data, model.predict(X))
    assert not out.mask.any()


def test_streams_fill_no_masked_entries() -> None:
    out = masked(np.zeros(4), 1, 3)
    with pytest.raises(ValueError, match=rf"^out must have no masked entries; got {ELSEWHERE}"):
        _core.fill_uniform(out, 0.0, 1.0, 0, 0)
    assert out.data.tolist() == [0.0, FILL, 0.0, FILL]


class Subclass(np.ndarray):
    pass


def test_other_subclasses_are_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    model = classifier().model
    expected = model.predict(X)
    for given in (np.load(tmp_path / "x.npy", mmap_mode="r"), X.view(Subclass)):
        assert type(given) is not np.ndarray
        assert np.array_equal(model.predict(given), expected)
        assert np.array_equal(model.network.predict(given), expected)
        trained = [classifier(), classifier()]
        for trainer, x in zip(trained, (X, given), strict=True):
            trainer.fit(x, LABELS, 2, 2, progress=False)
        assert np.array_equal(trained[0].model.parameters, trained[1].model.parameters)


UNTOUCHED = """
import sys
import numpy as np
import nncore as nc
class Subclass(np.ndarray):
    pass
assert "numpy.ma" not in sys.modules, "something else has imported it"
x = np.ones((4, 3))
trainer = nc.Trainer(nc.mlp([3, 2], seed=0), "mean_squared_error")
for given in (x, x.view(Subclass), x.tolist(), [*x]):
    trainer.fit(given, x[:, :2], progress=False)
    trainer.model.predict(given)
print("numpy.ma" in sys.modules)
"""


def test_numpy_ma_is_not_imported_for_others() -> None:
    done = subprocess.run([sys.executable, "-c", UNTOUCHED], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
