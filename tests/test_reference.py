"""nncore against PyTorch in float64, as recorded by tests/reference/record_torch.py, to 1e-12."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import nncore as nc
from nncore import _core

Array = NDArray[np.float64]
TOLERANCE = 1e-12
STEPS = 20


def load(file: str) -> dict[str, NDArray]:
    with np.load(Path(__file__).parent / "reference" / file) as arrays:
        return dict(arrays)


RECORDED = load("values.npz")
RECORDED_LOSSES = load("losses.npz")
RECORDED_ACTIVATIONS = load("activations.npz")


def recorded(prefix: str, values: Mapping[str, NDArray] = RECORDED) -> dict[str, NDArray]:
    return {
        key.removeprefix(f"{prefix}/"): array for key, array in values.items() if key.startswith(f"{prefix}/")
    }


def assert_agrees(actual: object, expected: Array, what: str) -> None:
    """Compares norms, and each entry relative to the largest one of its array."""
    actual = np.asarray(actual)
    assert actual.shape == expected.shape, what
    difference = np.abs(actual - expected)
    assert np.linalg.norm(difference) <= TOLERANCE * np.linalg.norm(expected), what
    assert np.max(difference) <= TOLERANCE * np.max(np.abs(expected)), what


def dense_layers(values: Mapping[str, NDArray]) -> list[nc.Dense]:
    """Layers of the recorded shapes. Setting their values requires a model first."""
    layers = []
    while (weight := values.get(f"weight{len(layers)}")) is not None:
        layers.append(nc.Dense(weight.shape[1], weight.shape[0]))
    return layers


def set_parameters(layers: list[nc.Dense], values: Mapping[str, NDArray]) -> None:
    for i, layer in enumerate(layers):
        layer.weight[...] = values[f"weight{i}"]
        layer.bias[...] = values[f"bias{i}"]


# The nets of record_torch.py -------------------------------------------------------------------------------


def chain(activation: type, last: type | None = None) -> Callable[[list[nc.Dense]], nc.Model]:
    def net(layers: list[nc.Dense]) -> nc.Model:
        line = [layers[0]]
        for layer in layers[1:]:
            line += [activation(), layer]
        if last is not None:
            line.append(last())
        return nc.Sequential(*line, dtype=np.float64, seed=0)

    return net


def shared(layers: list[nc.Dense]) -> nc.Model:
    x = nc.Input(4)
    h = nc.Tanh()(layers[0](x))
    h = nc.Tanh()(layers[0](h))
    return nc.Model(x, layers[1](h), dtype=np.float64, seed=0)


def diamond(layers: list[nc.Dense]) -> nc.Model:
    x = nc.Input(3)
    h = nc.Tanh()(layers[0](x))
    a, b = layers[1](h), nc.Sigmoid()(layers[2](h))
    joined = nc.Concatenate()(nc.Add()(a, b), h, nc.Multiply()(a, b))
    return nc.Model(x, layers[3](joined), dtype=np.float64, seed=0)


def branches(layers: list[nc.Dense]) -> nc.Model:
    x = nc.Input(3)
    a, b = nc.Tanh()(layers[0](x)), nc.Sigmoid()(layers[1](x))
    return nc.Model(x, nc.Multiply()(layers[2](a), layers[2](b)), dtype=np.float64, seed=0)


CASES: dict[str, tuple[Callable[[list[nc.Dense]], nc.Model], str]] = {
    "tanh_mse": (chain(nc.Tanh), "mean_squared_error"),
    "relu_softmax_labels": (chain(nc.ReLU, nc.Softmax), "cross_entropy"),
    "relu_softmax_soft": (chain(nc.ReLU, nc.Softmax), "cross_entropy"),
    "relu_logits_labels": (chain(nc.ReLU), "softmax_cross_entropy"),
    "relu_logits_soft": (chain(nc.ReLU), "softmax_cross_entropy"),
    "sigmoid_bce": (chain(nc.Sigmoid, nc.Sigmoid), "binary_cross_entropy"),
    "sigmoid_bce_logits": (chain(nc.Sigmoid), "sigmoid_cross_entropy"),
    "sigmoid_half": (chain(nc.Sigmoid, nc.Sigmoid), "half_squared_error"),
    "shared": (shared, "half_squared_error"),
    "diamond": (diamond, "half_squared_error"),
    "branches": (branches, "mean_squared_error"),
}


def test_every_recorded_case_is_compared() -> None:
    assert {key.split("/")[0] for key in RECORDED} == {*CASES, "optimizers", "versions"}
    assert str(RECORDED["versions"]).startswith("torch 2.13.0")


@pytest.mark.parametrize("weighted", ["", "weighted_"])
@pytest.mark.parametrize("name", CASES)
def test_forward_loss_and_gradients(name: str, weighted: str) -> None:
    net, loss = CASES[name]
    values = recorded(name)
    layers = dense_layers(values)
    model = net(layers)
    set_parameters(layers, values)
    sample_weight = values["sample_weight"] if weighted else None

    assert_agrees(model.predict(values["x"]), values["output"], "predict")
    assert_agrees(model.forward(values["x"]), values["output"], "forward")
    value = model.loss_and_gradients(values["x"], values["y"], loss, sample_weight=sample_weight)
    assert_agrees(value, values[f"{weighted}loss"], "loss")

    def assert_gradients_agree(how: str) -> None:
        for i, layer in enumerate(layers):
            assert_agrees(layer.grad_weight, values[f"{weighted}grad_weight{i}"], f"{how}: weight {i}")
            assert_agrees(layer.grad_bias, values[f"{weighted}grad_bias{i}"], f"{how}: bias {i}")

    assert_gradients_agree("loss_and_gradients")
    # An external gradient of the loss passes through the output activation, without fusion.
    model.gradients[...] = 0.0
    model.forward(values["x"])
    grad_x = model.backward(values[f"{weighted}grad_output"])
    assert_agrees(grad_x, values[f"{weighted}grad_x"], "backward: x")
    assert_gradients_agree("backward")


ACTIVATIONS = ["leaky_relu", "leaky_relu of 0.3", "gelu", "gelu by tanh", "silu"]


def test_every_recorded_activation_is_compared() -> None:
    assert {key.split("/")[0] for key in RECORDED_ACTIVATIONS} == {*ACTIVATIONS, "versions"}
    assert str(RECORDED_ACTIVATIONS["versions"]).startswith("torch 2.13.0")


@pytest.mark.parametrize("case", ACTIVATIONS)
def test_activations_by_themselves(case: str) -> None:
    values = recorded(case, RECORDED_ACTIVATIONS)
    name = case.split()[0]
    parameters = {key.split()[1]: given.item() for key, given in values.items() if " " in key}
    value = getattr(nc.functional, name)(values["z"], **parameters)
    assert_agrees(value, values["value"], "value")
    [entry] = [entry for entry in _core.entries["activations"] if entry["name"] == name]
    kept = values["z"] if entry["derivative_reads"] == "input" else value
    gradient = getattr(nc.functional, f"{name}_backward")(values["grad_output"], kept, **parameters)
    assert_agrees(gradient, values["gradient"], "gradient")


LOSSES = ["huber", "huber of 0.3", "mean_absolute_error", "gaussian_nll"]


def test_every_recorded_loss_is_compared() -> None:
    assert {key.split("/")[0] for key in RECORDED_LOSSES} == {*LOSSES, "versions"}
    assert str(RECORDED_LOSSES["versions"]).startswith("torch 2.13.0")


@pytest.mark.parametrize("case", LOSSES)
def test_losses_by_themselves(case: str) -> None:
    values = recorded(case, RECORDED_LOSSES)
    name = case.split()[0]
    parameters = {key.split()[1]: float(number) for key, number in values.items() if " " in key}
    value, gradient = getattr(nc.functional, f"{name}_and_gradient")(
        values["prediction"], values["target"], sample_weight=values["sample_weight"], **parameters
    )
    assert_agrees(value, values["value"], "value")
    assert_agrees(gradient, values["gradient"], "gradient")
    samples = getattr(nc.functional, name)(
        values["prediction"], values["target"], reduction="none", **parameters
    )
    assert_agrees(samples, values["samples"], "samples")


OPTIMIZERS: dict[str, Callable[[], object]] = {
    "sgd": lambda: nc.SGD(0.1),
    "momentum": lambda: nc.SGD(0.05, momentum=0.9),
    "nesterov": lambda: nc.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: nc.Adam(0.01),
    "adamw": lambda: nc.AdamW(0.01, weight_decay=0.1),
}


@pytest.mark.parametrize("way", ["trainer", "pieces"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_optimizer_steps(kind: str, way: str) -> None:
    values = recorded("optimizers")
    layers = dense_layers(values)
    model = chain(nc.Tanh)(layers)
    set_parameters(layers, values)
    optimizer = OPTIMIZERS[kind]()
    trainer = nc.Trainer(model, loss="mean_squared_error", optimizer=optimizer, seed=0)
    losses = []
    for step in range(STEPS):
        x, y = values["x"][step % len(values["x"])], values["y"][step % len(values["y"])]
        if way == "trainer":
            losses.append(trainer.step(x, y))
        else:
            losses.append(model.loss_and_gradients(x, y, "mean_squared_error"))
            optimizer.step(model)
    assert_agrees(losses, values[f"{kind}/losses"], "losses")
    for i, layer in enumerate(layers):
        assert_agrees(layer.weight, values[f"{kind}/weight{i}"], f"weight {i}")
        assert_agrees(layer.bias, values[f"{kind}/bias{i}"], f"bias {i}")
