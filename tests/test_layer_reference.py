"""Layers with parameters or state against PyTorch in float64, as recorded by record_layers.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

import nncore as nc

TOLERANCE = 1e-12
FLOOR = 1e-14  # relative to the array's largest element, for sums that nearly cancel

with np.load(Path(__file__).parent / "reference" / "layers.npz") as file:
    RECORDED: dict[str, NDArray[Any]] = dict(file)

CASES: dict[str, Callable[[], nc.Layer]] = {
    "batch_norm": lambda: nc.BatchNorm(9),
    "batch_norm not affine": lambda: nc.BatchNorm(9, 0.01, 0.3, affine=False),
    "layer_norm": lambda: nc.LayerNorm(9),
    "layer_norm not affine": lambda: nc.LayerNorm(9, 0.01, elementwise_affine=False),
    "prelu": lambda: nc.PReLU(),
    "prelu of columns": lambda: nc.PReLU(9),
    "embedding": lambda: nc.Embedding(6, 5),
}


def assert_agrees(actual: ArrayLike, expected: NDArray[Any], what: str) -> None:
    floor = FLOOR * np.max(np.abs(expected))
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCE, atol=floor, err_msg=what, strict=True)


def test_every_recorded_case_is_compared() -> None:
    assert {key.split("/")[0] for key in RECORDED} == {*CASES, "versions"}
    assert str(RECORDED["versions"]).startswith("torch 2.13.0")


@pytest.mark.parametrize("case", CASES)
def test_a_layer_computes_what_pytorch_does(case: str) -> None:
    values = {
        key.removeprefix(f"{case}/"): array for key, array in RECORDED.items() if key.startswith(f"{case}/")
    }
    layer = CASES[case]()
    has_integers = values["x"].dtype.kind == "i"
    x = nc.Input(values["x"].shape[2], is_integer=has_integers)
    model = nc.Model(x, layer(x), dtype=np.float64, seed=0)
    parameters = {name.split(".")[-1]: array for name, array in model.named_parameters().items()}
    assert {f"parameter {name}" for name in parameters} == {key for key in values if "parameter " in key}
    for name, array in parameters.items():
        array[...] = values[f"parameter {name}"]
    state = {name.split(".")[-1]: array for name, array in model.named_state().items()}
    assert {f"state {name}" for name in state} == {key for key in values if "state " in key}

    for step, training in enumerate(values["training"]):
        where = f"step {step}: "
        output = model.forward(values["x"][step], training=bool(training))
        assert_agrees(output, values["output"][step], where + "output")
        grad_x = model.backward(values["grad_output"][step])
        if not has_integers:
            assert_agrees(grad_x, values["grad_x"][step], where + "grad_x")
        for name in parameters:
            gradient = getattr(layer, f"grad_{name}")
            assert_agrees(gradient, values[f"grad_{name}"][step], where + f"grad_{name}")
        for name in state:
            assert_agrees(getattr(layer, name), values[f"state {name}"][step], where + name)
        if not training:
            assert_agrees(model.predict(values["x"][step]), values["output"][step], where + "predict")
