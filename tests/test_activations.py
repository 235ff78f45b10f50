"""Compares every activation of the core with an independent formula (tests/oracles.py) and differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

import nncore as nc
from layouts import DTYPES, same_bits
from nncore import _core
from nncore import functional as F
from nncore.layers.activations import ENTRIES as CLASSES
from oracles import ACTIVATIONS

ENTRIES = {entry["name"]: entry for entry in _core.entries["activations"]}
STEP = 1e-5

Form = dict[str, Any]


def forms(entry: dict[str, Any]) -> list[Form]:
    """The default parameters; then for each parameter every other choice, or other numbers."""
    found: list[Form] = [{}]
    for p in entry["parameters"]:
        numbers = [p["default"] + 0.3, *([0.0] if p["range"]["low"] == 0.0 else [])]
        found += [{p["name"]: value} for value in (p["choices"] or numbers)]
    return found


def name_of(case: object) -> str:
    return (
        ", ".join(f"{k}={v}" for k, v in case.items()) or "defaults" if isinstance(case, dict) else str(case)
    )


CASES = [(name, form) for name, entry in ENTRIES.items() for form in forms(entry)]
for_every_form = pytest.mark.parametrize(("name", "form"), CASES, ids=name_of)
for_every_parameter = pytest.mark.parametrize(
    ("name", "parameter"),
    [
        pytest.param(name, p, id=f"{name} {p['name']}")
        for name, entry in ENTRIES.items()
        for p in entry["parameters"]
    ],
)


def draw(name: str, shape: tuple[int, int] = (3, 7)) -> NDArray[np.float64]:
    """Numbers of both signs, all too far from a kink for differences to reach it."""
    z = np.random.default_rng(0).normal(scale=2.0, size=shape)
    return z + np.copysign(0.01, z) if ENTRIES[name]["has_kink"] else z


def backward(name: str, form: Form, grad_output: NDArray[Any], z: NDArray[Any]) -> NDArray[Any]:
    kept = z if ENTRIES[name]["derivative_reads"] == "input" else getattr(F, name)(z, **form)
    result: NDArray[Any] = getattr(F, f"{name}_backward")(grad_output, kept, **form)
    return result


def defaults(name: str) -> Form:
    """The defaults as Python values, with choices as strings."""
    return {
        p["name"]: p["choices"][int(p["default"])] if p["choices"] else p["default"]
        for p in ENTRIES[name]["parameters"]
    }


def test_every_activation_has_a_class_that_says_what_it_is() -> None:
    assert list(CLASSES) == list(ENTRIES)
    for name, cls in CLASSES.items():
        assert cls.kind == name
        assert cls is getattr(nc, ENTRIES[name]["class_name"])
        assert set(cls.options) == set(defaults(name))
        assert cls().attributes() == defaults(name)


@for_every_form
def test_values_follow_the_formula(name: str, form: Form) -> None:
    z = np.concatenate([np.linspace(-8.0, 8.0, 321), draw(name, (1, 79))[0]]).reshape(4, 100)
    expected = ACTIVATIONS[name](z, **{**defaults(name), **form})
    np.testing.assert_allclose(getattr(F, name)(z, **form), expected, rtol=1e-12, atol=1e-14)


@for_every_form
def test_backward_is_what_differences_say(name: str, form: Form) -> None:
    z = draw(name)
    grad_output = np.random.default_rng(1).normal(size=z.shape)

    def total(moved: NDArray[np.float64]) -> float:
        return float((grad_output * getattr(F, name)(moved, **form)).sum())

    expected = np.empty_like(z)
    for place in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[place] = STEP
        expected[place] = (total(z + step) - total(z - step)) / (2 * STEP)
    gradient = backward(name, form, grad_output, z)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-8)
    out = z.copy()
    kept = z if ENTRIES[name]["derivative_reads"] == "input" else getattr(F, name)(z, **form)
    getattr(F, f"{name}_backward")(grad_output, kept, out=out, accumulate=True, **form)
    np.testing.assert_allclose(out, z + gradient, rtol=0, atol=1e-14)


@for_every_form
def test_float32_is_near_float64(name: str, form: Form) -> None:
    z = draw(name, (5, 131)).astype(np.float32)
    grad_output = np.random.default_rng(1).normal(size=z.shape).astype(np.float32)
    wide_z, wide_gradient = z.astype(np.float64), grad_output.astype(np.float64)
    accuracy = {"rtol": 16 * np.finfo(np.float32).eps, "atol": 16 * np.finfo(np.float32).eps}
    value, gradient = getattr(F, name)(z, **form), backward(name, form, grad_output, z)
    assert value.dtype == gradient.dtype == np.float32
    np.testing.assert_allclose(value, getattr(F, name)(wide_z, **form), **accuracy)
    np.testing.assert_allclose(gradient, backward(name, form, wide_gradient, wide_z), **accuracy)


@pytest.mark.parametrize("dtype", DTYPES)
@for_every_form
def test_the_layer_computes_the_function(name: str, form: Form, dtype: DTypeLike) -> None:
    z = draw(name).astype(dtype)
    x = nc.Input(z.shape[1])
    model = nc.Model(x, CLASSES[name](**form)(x), dtype=dtype)
    assert same_bits(model.predict(z), getattr(F, name)(z, **form))
    assert same_bits(model.forward(z), getattr(F, name)(z, **form))
    grad_output = np.random.default_rng(1).normal(size=z.shape).astype(dtype)
    assert same_bits(model.backward(grad_output), backward(name, form, grad_output, z))


@for_every_form
def test_gradients_of_a_graph(name: str, form: Form) -> None:
    """The activation after a dense layer, with an output that is used twice, and twice in a row."""
    x = nc.Input(4)
    hidden = CLASSES[name](**form)(nc.Dense(4, 5)(x))
    again = CLASSES[name](**form)(CLASSES[name](**form)(nc.Dense(5, 5)(hidden) + hidden))
    model = nc.Model(x, nc.Dense(5, 2)(again * hidden), dtype=np.float64, seed=0)
    rng = np.random.default_rng(2)
    inputs, targets = rng.standard_normal((6, 4)), rng.standard_normal((6, 2))
    result = nc.check_gradients(model, inputs, targets, "half_squared_error")
    assert result.kinks == 0
    assert np.any(model.gradients)


@for_every_form
def test_files_keep_the_parameters(name: str, form: Form, tmp_path: Path) -> None:
    model = nc.Sequential(nc.Dense(3, 4), CLASSES[name](**form), dtype=np.float64, seed=0)
    model.save(tmp_path / "model.safetensors")
    loaded = nc.load(tmp_path / "model.safetensors")
    layer = loaded[1]
    assert type(layer) is CLASSES[name]
    assert layer.attributes() == {**defaults(name), **form}
    x = np.random.default_rng(0).standard_normal((5, 3))
    assert same_bits(loaded.predict(x), model.predict(x))


@for_every_form
def test_layers_describe_themselves(name: str, form: Form) -> None:
    again = eval(repr(CLASSES[name](**form)), vars(nc))
    assert type(again) is CLASSES[name]
    assert again.attributes() == {**defaults(name), **form}


def test_parameters_are_shown() -> None:
    assert repr(nc.LeakyReLU(0.2)) == "LeakyReLU(negative_slope=0.2)"
    assert repr(nc.GELU(approximate="tanh")) == "GELU(approximate='tanh')"
    assert repr(nc.SiLU()) == "SiLU()"


@for_every_parameter
def test_parameters_out_of_range_are_refused(name: str, parameter: dict[str, Any]) -> None:
    z = draw(name)
    option = parameter["name"]
    if parameter["choices"]:
        wrong_values, message = ["", "Tanh"], rf"{option} .*{parameter['choices'][0]}"
    else:
        low, high = parameter["range"]["low"], parameter["range"]["high"]
        wrong_values, message = (
            [np.nan, np.inf, low - 1.0, high + 1.0],
            f"{option} must be {parameter['range']['text']}; got ",
        )
    for wrong, error in [(value, ValueError) for value in wrong_values] + [
        (None, TypeError),
        ([], TypeError),
    ]:
        expected = message if error is ValueError else rf"{option} "
        for call in (
            lambda wrong=wrong: CLASSES[name](**{option: wrong}),
            lambda wrong=wrong: getattr(F, name)(z, **{option: wrong}),
            lambda wrong=wrong: backward(name, {option: wrong}, z, z),
        ):
            with pytest.raises(error, match=expected):
                call()


def test_parameters_of_others_are_refused() -> None:
    for name in ENTRIES:
        with pytest.raises(TypeError, match="slant"):
            getattr(F, name)(draw(name), slant=0.1)
        with pytest.raises(TypeError, match="slant"):
            CLASSES[name](slant=0.1)
