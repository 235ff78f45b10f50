"""Compares every optimizer of the core with an independent formula (tests/oracles.py) and PyTorch."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

import nncore as nc
from nncore import _core
from nncore.optimizers import ENTRIES as CLASSES
from oracles import OPTIMIZERS, Kept

STEPS = 20
ENTRIES = {entry["name"]: entry for entry in _core.entries["optimizers"]}

with np.load(Path(__file__).parent / "reference" / "optimizers.npz") as file:
    RECORDED: dict[str, NDArray[Any]] = dict(file)


def forms(kind: str) -> list[dict[str, Any]]:
    """Hyperparameters with each default-off option on and off, and all other values changed."""
    found: list[dict[str, Any]] = [{}]
    for parameter in ENTRIES[kind]["parameters"]:
        name, default = parameter["name"], parameter["default"]
        if default != 0.0:  # a fraction stays a fraction
            found = [{**form, name: default * 0.75} for form in found]
        else:
            found += [{**form, name: True if parameter["choices"] else 0.25} for form in found]
    return [form for form in found if not (form.get("nesterov") and "momentum" not in form)]


CASES = [(kind, form) for kind in ENTRIES for form in forms(kind)]


def make_model(dtype: DTypeLike) -> nc.Model:
    model = nc.mlp([5, 8, 3], dtype=dtype, seed=1)
    _core.fill_uniform(model.parameters, -1.0, 1.0, seed=1, index=0)
    return model


def gradients(model: nc.Model, step: int) -> NDArray[Any]:
    return np.random.default_rng(step).normal(size=model.parameters.shape) * 10.0 ** (step % 3 - 2)


def test_every_optimizer_has_an_oracle() -> None:
    assert set(OPTIMIZERS) == set(ENTRIES)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-4)])
@pytest.mark.parametrize(("kind", "form"), CASES)
def test_steps_follow_the_formula(
    kind: str, form: dict[str, Any], dtype: DTypeLike, tolerance: float
) -> None:
    model = make_model(dtype)
    optimizer = CLASSES[kind](**form)
    o = SimpleNamespace(**optimizer.settings)
    expected = model.parameters.astype(np.float64)
    is_weight = np.zeros(expected.shape)
    for name, view in model.store.split(is_weight, model.segments).items():
        view[...] = name.endswith(".weight")
    kept: Kept = {}
    for step in range(1, STEPS + 1):
        model.gradients[...] = gradients(model, step)
        g = model.gradients + o.l2 * is_weight * expected
        change = o.learning_rate * OPTIMIZERS[kind](o, step, g, kept)
        expected -= o.learning_rate * o.weight_decay * is_weight * expected + change
        optimizer.step(model)
    assert np.max(np.abs(model.parameters - expected)) <= tolerance * np.max(np.abs(expected))
    assert optimizer.state(model.store).steps == STEPS


TORCH: dict[str, Callable[[], nc.Optimizer]] = {
    "sgd": lambda: nc.SGD(0.1),
    "sgd_l2": lambda: nc.SGD(0.1, l2=0.2),
    "sgd_momentum": lambda: nc.SGD(0.05, momentum=0.9, l2=0.2),
    "sgd_nesterov": lambda: nc.SGD(0.05, momentum=0.9, nesterov=True, l2=0.2),
    "adam": lambda: nc.Adam(0.01),
    "adam_l2": lambda: nc.Adam(0.01, beta1=0.8, beta2=0.99, epsilon=1e-6, l2=0.2),
    "adamw": lambda: nc.AdamW(0.01, weight_decay=0.3),
    "rmsprop": lambda: nc.RMSprop(0.01),
    "rmsprop_momentum": lambda: nc.RMSprop(0.01, momentum=0.9, l2=0.2),
    "rmsprop_centered": lambda: nc.RMSprop(0.01, alpha=0.9, centered=True),
    "rmsprop_all": lambda: nc.RMSprop(0.01, momentum=0.9, centered=True, l2=0.2),
    "adagrad": lambda: nc.Adagrad(0.1),
    "adagrad_started": lambda: nc.Adagrad(0.1, initial_accumulator_value=0.5, l2=0.2),
}


def test_every_recorded_optimizer_is_compared() -> None:
    assert {key.split("/")[0] for key in RECORDED} == {*TORCH, "start", "gradients", "versions"}
    assert str(RECORDED["versions"]).startswith("torch 2.13.0")


@pytest.mark.parametrize("case", TORCH)
def test_steps_are_those_of_pytorch(case: str) -> None:
    model = make_model(np.float64)
    pieces = [
        view
        for layer in model.layers
        if isinstance(layer, nc.Dense)
        for view in ((layer.weight, layer.grad_weight), (layer.bias, layer.grad_bias))
    ]
    for i, (value, _) in enumerate(pieces):
        value[...] = RECORDED[f"start/{i}"]
    optimizer = TORCH[case]()
    for step in range(STEPS):
        for i, (_, gradient) in enumerate(pieces):
            gradient[...] = RECORDED[f"gradients/{i}"][step]
        optimizer.step(model)
    for i, (value, _) in enumerate(pieces):
        expected = RECORDED[f"{case}/{i}"]
        assert np.max(np.abs(value - expected)) <= 1e-12 * np.max(np.abs(expected)), i


@pytest.mark.parametrize(("kind", "form"), CASES)
def test_settings_and_slots_are_those_of_the_entry(kind: str, form: dict[str, Any]) -> None:
    optimizer = CLASSES[kind](**form)
    names = [parameter["name"] for parameter in ENTRIES[kind]["parameters"]]
    assert list(optimizer.settings) == names
    assert optimizer.settings == {**CLASSES[kind]().settings, **form}
    model = make_model(np.float32)
    slots = optimizer.state(model.store).slots
    starts = {
        slot["name"]: optimizer.settings[slot["initial"]] if slot["initial"] else 0.0
        for slot in ENTRIES[kind]["slots"]
        if slot["only_if"] is None or optimizer.settings[slot["only_if"]]
    }
    assert slots.keys() == starts.keys()
    for name, start in starts.items():
        assert slots[name].shape == model.parameters.shape
        assert np.all(slots[name] == np.float32(start))
