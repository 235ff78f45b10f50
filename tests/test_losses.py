"""Every loss of the core against the formulas in oracles.py, alone and in models."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

import nncore as nc
from layouts import DTYPES, instruction_sets, same_bits, using_instruction_set, using_threads
from nncore import _core
from nncore import functional as F
from oracles import LOSSES

ENTRIES = _core.entries["losses"]
NAMES = [entry["name"] for entry in ENTRIES]
ROWS = 7
OUTPUTS = 6  # even, as gaussian_nll requires
STEP = 1e-3

for_every_loss = pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)


def test_every_entry_has_an_oracle_and_a_class_and_functions() -> None:
    assert set(NAMES) == set(LOSSES)
    for entry in ENTRIES:
        cls = getattr(nc, entry["class_name"])
        assert issubclass(cls, nc.Loss)
        assert cls.kind == entry["name"]
        assert " ".join(cls.__doc__.split()).startswith(" ".join(entry["summary"].split()))
        assert set(cls().parameters) == {parameter["name"] for parameter in entry["parameters"]}
        for name in (entry["name"], f"{entry['name']}_and_gradient"):
            assert name in F.__all__
            assert getattr(F, name) is getattr(_core, name)


def parameters_of(entry: dict[str, Any], width: int = OUTPUTS) -> list[dict[str, Any]]:
    """The defaults and other parameters: one number, and one for each column where allowed."""
    choices: list[dict[str, Any]] = [{p["name"]: p["default"] for p in entry["parameters"]}]
    for p in entry["parameters"]:
        other = 0.7 * p["default"] + 0.1 * min(p["range"]["high"], 1.0)
        choices.append({**choices[0], p["name"]: other})
        if p["vector"]:
            choices.append({**choices[0], p["name"]: np.linspace(other, p["default"], width)})
    return choices


def draw(entry: dict[str, Any], rows: int = ROWS, outputs: int = OUTPUTS) -> tuple[NDArray, NDArray]:
    """A valid prediction and target, too far from kinks for differences to reach them."""
    rng = np.random.default_rng(rows)
    width = _core.Loss(entry["name"]).target_features(outputs)
    low, high = (0.2, 0.8) if entry["activation"] else (-3.0, 3.0)
    prediction = rng.uniform(low, high, (rows, outputs))
    bounds = entry["targets"] or {"low": -3.0, "high": 3.0}
    target = rng.uniform(max(bounds["low"], -3.0), min(bounds["high"], 3.0), (rows, width))
    if entry["takes_labels"]:
        target = rng.dirichlet(np.ones(width), rows)
    for parameters in parameters_of(entry, width):
        for factor, parameter in entry["kinks"]:
            kink = factor * np.asarray(parameters[parameter] if parameter else 0.0)
            prediction += np.where(abs(prediction - target - kink) < 3 * STEP, 0.01, 0.0)
    return prediction, target


def slopes(entry: dict[str, Any], prediction: NDArray, target: NDArray, parameters: dict) -> NDArray:
    """The oracle's gradient by differences, with an error of order STEP^4 times the fifth derivative."""
    gradient = np.empty_like(prediction)
    for column in range(prediction.shape[1]):

        def at(factor: float, column: int = column) -> NDArray:
            moved = prediction.copy()
            moved[:, column] += factor * STEP
            return LOSSES[entry["name"]](moved, target, **parameters)

        gradient[:, column] = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * STEP)
    return gradient


@for_every_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_values_and_gradients(entry: dict[str, Any], weighted: bool) -> None:
    prediction, target = draw(entry)
    weight = np.linspace(0.5, 2.0, ROWS) if weighted else None
    w = np.ones(ROWS) if weight is None else weight
    for parameters in parameters_of(entry, target.shape[1]):
        samples = w * LOSSES[entry["name"]](prediction, target, **parameters)
        gradient = w[:, None] * slopes(entry, prediction, target, parameters)
        for reduction, divisor in (("none", 1.0), ("sum", 1.0), ("mean", w.sum())):
            given = {"sample_weight": weight, "reduction": reduction, **parameters}
            value = getattr(F, entry["name"])(prediction, target, **given)
            expected = samples if reduction == "none" else samples.sum() / divisor
            np.testing.assert_allclose(value, expected, rtol=1e-13, atol=1e-13)
            again, slope = getattr(F, f"{entry['name']}_and_gradient")(prediction, target, **given)
            assert same_bits(np.asarray(again), np.asarray(value))
            np.testing.assert_allclose(slope, gradient / divisor, rtol=2e-8, atol=1e-9)


@for_every_loss
def test_float32_is_near_float64(entry: dict[str, Any]) -> None:
    prediction, target = (array.astype(np.float32) for array in draw(entry))
    weight = np.linspace(0.5, 2.0, ROWS, dtype=np.float32)
    run = getattr(F, f"{entry['name']}_and_gradient")
    for parameters in parameters_of(entry, target.shape[1]):
        value, gradient = run(prediction, target, sample_weight=weight, **parameters)
        wide = (array.astype(np.float64) for array in (prediction, target))
        exact, exact_gradient = run(*wide, sample_weight=weight.astype(np.float64), **parameters)
        assert gradient.dtype == np.float32
        np.testing.assert_allclose(value, exact, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(gradient, exact_gradient, rtol=1e-5, atol=1e-6)


@for_every_loss
def test_labels_are_one_hot_rows_where_they_are_taken(entry: dict[str, Any]) -> None:
    prediction, _ = draw(entry)
    labels = np.arange(ROWS) % OUTPUTS
    run = getattr(F, f"{entry['name']}_and_gradient")
    if not entry["takes_labels"]:
        with pytest.raises((TypeError, ValueError), match="target"):
            run(prediction, labels)
        return
    value, gradient = run(prediction, labels)
    again, same = run(prediction, np.eye(OUTPUTS)[labels])
    assert value == again
    assert same_bits(gradient, same)


# Models ----------------------------------------------------------------------------------------------------


def instance(entry: dict[str, Any], parameters: dict[str, Any]) -> nc.Loss:
    loss: nc.Loss = getattr(nc, entry["class_name"])(**parameters)
    return loss


def model_for(entry: dict[str, Any], dtype: DTypeLike = np.float64) -> nc.Model:
    ends = {"softmax": [nc.Softmax()], "sigmoid": [nc.Sigmoid()], None: []}[entry["activation"]]
    return nc.Sequential(nc.Dense(4, 5), nc.Tanh(), nc.Dense(5, OUTPUTS), *ends, dtype=dtype, seed=3)


@for_every_loss
def test_a_model_takes_name_alias_class_and_instance(entry: dict[str, Any]) -> None:
    model, (_, target) = model_for(entry), draw(entry)
    x = np.random.default_rng(5).normal(size=(ROWS, 4))
    weight = np.linspace(0.5, 2.0, ROWS)
    choices = parameters_of(entry, target.shape[1])
    for parameters in choices:
        loss = instance(entry, parameters)
        prediction = model.predict(x)
        value, grad_output = getattr(F, f"{entry['name']}_and_gradient")(
            prediction, target, sample_weight=weight, **parameters
        )
        model.forward(x)
        model.backward(grad_output)
        expected = model.gradients.copy()
        given: list[Any] = [loss]
        if parameters is choices[0]:
            given += [entry["name"], type(loss), *([entry["alias"]] if entry["alias"] else [])]
        for one in given:
            model.gradients[...] = 0.0
            assert model.loss_and_gradients(x, target, one, sample_weight=weight) == pytest.approx(value)
            np.testing.assert_allclose(model.gradients, expected, rtol=1e-11, atol=1e-13)
            trainer = nc.Trainer(model, one)
            assert trainer.evaluate(x, target, weight)["loss"] == pytest.approx(value)


@for_every_loss
def test_training_makes_the_loss_small_and_ends_in_the_same_bits(entry: dict[str, Any]) -> None:
    x = np.random.default_rng(6).normal(size=(ROWS, 4))
    for dtype in DTYPES:
        _, target = draw(entry)
        for parameters in parameters_of(entry, target.shape[1]):
            ends = set()
            for isa in instruction_sets():
                for threads in (1, 2, 3):
                    with using_instruction_set(isa), using_threads(threads):
                        model = model_for(entry, dtype)
                        trainer = nc.Trainer(model, instance(entry, parameters), nc.Adam(0.01))
                        before = trainer.step(x, target)
                        for _ in range(30):
                            after = trainer.step(x, target)
                        assert after < before
                        ends.add(model.parameters.tobytes())
            assert len(ends) == 1


@for_every_loss
def test_losses_are_equal_by_kind_and_parameters(entry: dict[str, Any]) -> None:
    every = [instance(entry, parameters) for parameters in parameters_of(entry)]
    for i, loss in enumerate(every):
        assert [other == loss for other in every] == [i == j for j in range(len(every))]
        assert loss != entry["name"]
        for twin in (eval(repr(loss), vars(nc)), copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
            assert twin == loss
            assert hash(twin) == hash(loss)


@for_every_loss
def test_parameters_out_of_range_are_refused(entry: dict[str, Any]) -> None:
    prediction, target = draw(entry)
    for p in entry["parameters"]:
        for wrong in (np.nan, np.inf, p["range"]["low"] - 1.0, p["range"]["high"] + 1.0):
            message = f"{p['name']} must be {p['range']['text']}; got "
            with pytest.raises(ValueError, match=message):
                instance(entry, {p["name"]: wrong})
            with pytest.raises(ValueError, match=message):
                getattr(F, entry["name"])(prediction, target, **{p["name"]: wrong})
        for wrong in ("1", None, [], [1.0, "2"], {}):
            with pytest.raises(TypeError, match=f"{p['name']} must be a number"):
                instance(entry, {p["name"]: wrong})
        one_too_many = [p["default"]] * (target.shape[1] + 1)
        with pytest.raises((ValueError, TypeError), match=f"{p['name']} must be "):
            getattr(F, entry["name"])(prediction, target, **{p["name"]: one_too_many})
        with pytest.raises((ValueError, TypeError), match=f"{p['name']} must be "):
            model_for(entry).loss_and_gradients(
                np.zeros((ROWS, 4)), target, instance(entry, {p["name"]: one_too_many})
            )
    with pytest.raises(TypeError, match="sigma"):
        _core.Loss(entry["name"], sigma=1.0)
    with pytest.raises(TypeError, match="sigma"):
        getattr(F, entry["name"])(prediction, target, sigma=1.0)


@for_every_loss
def test_functions_and_models_refuse_the_same_targets(entry: dict[str, Any]) -> None:
    prediction, target = draw(entry)
    bounds = entry["targets"]
    wrong = [np.nan] if bounds is None else [np.nan, bounds["low"] - 0.25, bounds["high"] + 0.25]
    for number in (number for number in wrong if not np.isinf(number)):
        target[3, 1] = number
        text = "a number" if bounds is None else bounds["text"]
        for name, call in (
            ("target", lambda: getattr(F, entry["name"])(prediction, target)),
            ("y", lambda: model_for(entry).loss_and_gradients(np.zeros((ROWS, 4)), target, entry["name"])),
        ):
            with pytest.raises(ValueError) as raised:
                call()
            assert str(raised.value) == f"{name} must be {text}; got {number:g} in row 3, column 1"


def test_plans_are_kept_by_kind_and_parameters_and_not_without_end() -> None:
    model = nc.mlp([2, 3], dtype=np.float64, seed=0)
    x, y = np.ones((2, 2)), np.full((2, 3), 5.0)
    losses = [model.loss_and_gradients(x, y, nc.Huber(1.0 + 0.01 * i)) for i in range(100)]
    assert losses == sorted(losses)
    assert len(set(losses)) == 100
    assert model.loss_and_gradients(x, y, nc.Huber(1.0)) == losses[0]
    assert len(model._objectives) <= 16


def test_gaussian_nll_names_what_it_takes() -> None:
    message = "must have an even number of columns: the means, then the logarithms of the variances"
    with pytest.raises(ValueError, match=rf"output '\w+' {message}, for 'gaussian_nll'; got shape \(B, 3\)"):
        nc.Trainer(nc.mlp([2, 3]), "gaussian_nll")
    with pytest.raises(ValueError, match=rf"prediction {message}, for 'gaussian_nll'; got shape \(B, 3\)"):
        F.gaussian_nll(np.zeros((4, 3)), np.zeros((4, 1)))
    model = nc.mlp([2, 2], seed=0)
    x, y = np.ones((4, 2)), np.arange(4.0)
    assert model.loss_and_gradients(x, y, "gaussian_nll") == model.loss_and_gradients(
        x, y[:, None], "gaussian_nll"
    )
    with pytest.raises(ValueError, match=r"y must have shape \(4, 1\); got \(4, 2\)"):
        model.loss_and_gradients(x, np.ones((4, 2)), "gaussian_nll")


def test_gaussian_nll_learns_how_wide_the_noise_is() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.0, 1.0, (2000, 1))
    y = 3.0 * x + np.where(x > 0, 0.5, 0.1) * rng.normal(size=x.shape)
    model = nc.mlp([1, 16, 2], activation="tanh", seed=0)
    nc.Trainer(model, nc.GaussianNLL(), nc.Adam(0.01)).fit(x, y, epochs=60, progress=False)
    deviation = np.exp(0.5 * model.predict(np.array([[-0.5], [0.5]]))[:, 1])
    np.testing.assert_allclose(deviation, [0.1, 0.5], rtol=0.25)
