"""Layers and symbolic values: descriptions, parameters, and when parameters are created."""

import numpy as np
import pytest

import nncore as nc
from nncore import _core, initializers, losses, optimizers
from nncore.layers.activations import ENTRIES as ACTIVATIONS


def test_tables_have_the_rows_of_the_core():
    assert list(ACTIVATIONS) == [entry["name"] for entry in _core.entries["activations"]]
    assert list(losses.ENTRIES) == [entry["name"] for entry in _core.entries["losses"]]
    assert list(optimizers.ENTRIES) == [entry["name"] for entry in _core.entries["optimizers"]]
    assert list(initializers.ENTRIES) == [entry["name"] for entry in _core.entries["initializers"]]


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_an_activation_layer_computes_the_function_of_its_name(name):
    x = nc.Input(5)
    model = nc.Model(x, ACTIVATIONS[name]()(x), dtype=np.float64)
    z = np.random.default_rng(0).standard_normal((4, 5))
    assert np.array_equal(model.predict(z), getattr(nc.functional, name)(z))


def test_dense_computes_x_weight_transposed_plus_bias():
    layer = nc.Dense(3, 2)
    model = nc.Sequential(layer, dtype=np.float64)
    layer.weight[:] = [[1, 2, 3], [4, 5, 6]]
    layer.bias[:] = [10, 20]
    assert model.predict([1, 0, -1]).tolist() == [[8, 18]]


def test_dense_without_bias():
    layer = nc.Dense(3, 2, bias=False)
    model = nc.Sequential(layer)
    assert layer.bias is None
    assert layer.grad_bias is None
    assert model.parameters.size == 6
    with pytest.raises(ValueError, match="bias must belong to a layer with bias=True"):
        layer.bias = np.zeros(2)


def test_parameters_are_views_that_can_be_assigned():
    layer = nc.Dense(3, 2)
    model = nc.Sequential(layer)
    early = layer.weight
    layer.weight = np.arange(6).reshape(2, 3)
    assert np.array_equal(early, [[0, 1, 2], [3, 4, 5]])
    layer.weight -= 1
    assert early[0, 0] == -1
    model.parameters *= 2
    assert early[1, 2] == 8
    with pytest.raises(ValueError, match=r"weight must have shape \(2, 3\); got \(3,\)"):
        layer.weight = np.zeros(3)


@pytest.mark.parametrize(
    ("initializer", "spread"),
    [
        ("glorot_uniform", np.sqrt(2 / (300 + 200))),
        ("glorot_normal", np.sqrt(2 / (300 + 200))),
        ("he_uniform", np.sqrt(2 / 300)),
        ("he_normal", np.sqrt(2 / 300)),
    ],
)
def test_initializers_have_their_standard_deviation(initializer, spread):
    layer = nc.Dense(300, 200, weight_initializer=initializer)
    nc.Sequential(layer, seed=1)
    count = layer.weight.size
    assert abs(layer.weight.std() / spread - 1) < 5 / np.sqrt(count)  # at least five standard errors
    assert abs(layer.weight.mean()) < 5 * spread / np.sqrt(count)
    assert not layer.bias.any()


def test_constant_initializers():
    layer = nc.Dense(3, 2, weight_initializer=nc.Constant(0.25), bias_initializer=nc.Constant(-1))
    nc.Sequential(layer)
    assert (layer.weight == 0.25).all()
    assert (layer.bias == -1).all()


def test_the_seed_decides_the_parameters():
    first, again, other = (nc.mlp([4, 5, 2], seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.parameters, again.parameters)
    assert not np.array_equal(first.parameters, other.parameters)
    drawn = nc.mlp([4, 5, 2])
    assert np.array_equal(drawn.parameters, nc.mlp([4, 5, 2], seed=drawn.seed).parameters)


def test_a_frozen_layer_stays_and_can_be_thawed():
    frozen, free = nc.Dense(2, 2, trainable=False), nc.Dense(2, 1)
    model = nc.Sequential(frozen, free, seed=0)
    trainer = nc.Trainer(model, "half_squared_error", nc.SGD(0.1))
    before = frozen.weight.copy(), free.weight.copy()
    trainer.step([1.0, 2.0], [[3.0]])
    assert np.array_equal(frozen.weight, before[0])
    assert not np.array_equal(free.weight, before[1])
    frozen.trainable = True
    trainer.step([1.0, 2.0], [[3.0]])
    assert not np.array_equal(frozen.weight, before[0])


def test_weight_decay_is_for_weights():
    layer = nc.Dense(2, 2, bias_initializer=nc.Constant(1))
    model = nc.Sequential(layer, seed=0)
    before = layer.weight.copy()
    nc.AdamW(0.1, weight_decay=0.5).step(model)  # all gradients are 0: only the decay has an effect
    np.testing.assert_allclose(layer.weight, before * 0.95, rtol=2e-7)
    assert (layer.bias == 1).all()


def test_a_tied_layer_uses_the_weight_transposed():
    encoder = nc.Dense(4, 3)
    model = nc.Sequential(encoder, encoder.transposed(bias=False), dtype=np.float64, seed=0)
    x = np.random.default_rng(0).standard_normal((5, 4))
    expected = (x @ encoder.weight.T + encoder.bias) @ encoder.weight
    np.testing.assert_allclose(model.predict(x), expected, rtol=0, atol=1e-14)
    assert model.parameters.size == 15
    assert nc.check_gradients(model, x, x, "mean_squared_error").ok
    assert np.array_equal(model.copy().predict(x), model.predict(x))
    decoder = nc.Sequential(model[1])  # a model of the tied layer alone
    np.testing.assert_allclose(
        decoder.copy().predict(x[:, :3]), x[:, :3] @ encoder.weight, rtol=0, atol=1e-14
    )


def test_joining_values():
    a, b = nc.Input(2), nc.Input(2)
    model = nc.Model([a, b], [a + b, a * b, nc.Concatenate()(a, b, a)])
    added, multiplied, joined = model.predict([[[1, 2]], [[3, 5]]])
    assert added.tolist() == [[4, 7]]
    assert multiplied.tolist() == [[3, 10]]
    assert joined.tolist() == [[1, 2, 3, 5, 1, 2]]


def test_layers_describe_themselves():
    assert repr(nc.Dense(3, 2, bias=False)) == "Dense(3, 2, bias=False)"
    assert repr(nc.Dense(3, 2).transposed()) == "Dense(3, 2).transposed()"
    assert repr(nc.ReLU()) == "ReLU()"
    assert repr(nc.SGD(0.1, 0.9)) == "SGD(learning_rate=0.1, momentum=0.9)"
    assert repr(nc.SGD(0.1, 0.9, nesterov=True)) == "SGD(learning_rate=0.1, momentum=0.9, nesterov=True)"
    assert repr(nc.Constant(0.5)) == "Constant(value=0.5)"
    assert "Input" in repr(nc.Input(2))
