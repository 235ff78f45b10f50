"""Jacobian-vector products as graphs: values, their gradients, and Hessian-vector products."""

from __future__ import annotations

import numpy as np
import pytest

import nncore as nc

RNG = np.random.default_rng(0)
X, V = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3))

ACTIVATIONS = [nc.Tanh(), nc.GELU(), nc.GELU(approximate="tanh"), nc.SiLU(), nc.Sigmoid()]


def network(activation):
    layers = [nc.Dense(3, 6), activation, nc.Dense(6, 4), activation, nc.Dense(4, 2)]
    return nc.Sequential(*layers, dtype=np.float64, seed=0)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_a_jacobian_vector_product_is_the_derivative_in_a_direction(activation):
    x, v = nc.Input(3), nc.Input(3)
    y = network(activation)(x)
    model = nc.Model([x, v], [y, nc.jvp(y, x, v)])
    h = 1e-6
    above, below = (model.predict([X + s * h * V, V])[0] for s in (1, -1))
    assert np.allclose(model.predict([X, V])[1], (above - below) / (2 * h), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_a_reverse_pass_over_a_tangent_gives_second_derivatives(activation):
    x, v = nc.Input(3), nc.Input(3)
    model = nc.Model([x, v], nc.jvp(network(activation)(x), x, v))
    assert nc.check_gradients(model, [X, V], np.zeros((5, 2)), "mean_squared_error").ok


def test_a_hessian_vector_product():
    x, v = nc.Input(3), nc.Input(3)
    y = nc.Sequential(nc.Dense(3, 6), nc.Tanh(), nc.Dense(6, 1), dtype=np.float64, seed=0)(x)
    value = nc.Model(x, y)
    model = nc.Model([x, v], nc.jvp(y, x, v))  # g . v, whose gradient with respect to x is H v
    model.forward([X, V])
    product = model.backward(np.ones((5, 1)))[0]

    def gradient(at):
        value.forward(at)
        return value.backward(np.ones((5, 1)))

    h = 1e-6
    assert np.allclose(product, (gradient(X + h * V) - gradient(X - h * V)) / (2 * h), rtol=1e-7, atol=1e-8)


def test_sums_products_and_shared_layers():
    x, v = nc.Input(3), nc.Input(3)
    shared = nc.Dense(3, 3)
    hidden = nc.Tanh()(shared(x))
    y = shared(hidden) * hidden - x + hidden
    model = nc.Model([x, v], [y, nc.jvp(y, x, v)], dtype=np.float64, seed=0)
    h = 1e-6
    above, below = (model.predict([X + s * h * V, V])[0] for s in (1, -1))
    assert np.allclose(model.predict([X, V])[1], (above - below) / (2 * h), rtol=1e-8, atol=1e-8)


def test_differences_of_which_one_part_moves():
    x, v = nc.Input(3), nc.Input(3)
    constant = nc.Parameter(3, initializer=nc.Constant(2.0))()
    tangents = [nc.jvp(y, x, v) for y in (x - constant, constant - x)]
    model = nc.Model([x, v], [nc.Add()(x * constant, tangents[0]), tangents[1] + x], dtype=np.float64)
    first, second = model.predict([X, V])
    assert np.array_equal(first, 2 * X + V)
    assert np.array_equal(second, X - V)


def test_training_on_a_derivative_learns_the_function():
    """Learns y' = cos from derivatives alone; y is then sin up to a constant."""
    x, v = nc.Input(1), nc.Input(1)
    y = nc.Sequential(nc.Dense(1, 24), nc.Tanh(), nc.Dense(24, 1), dtype=np.float64, seed=0)(x)
    value = nc.Model(x, y)
    slope = nc.Model([x, v], nc.jvp(y, x, v))
    points = np.linspace(-2, 2, 64).reshape(-1, 1)
    trainer = nc.Trainer(slope, "mean_squared_error", nc.Adam(0.01))
    trainer.fit([points, np.ones_like(points)], np.cos(points), epochs=300, batch_size=16, progress=False)
    error = value.predict(points) - np.sin(points)
    assert np.ptp(error) < 0.05


def test_tangents_are_saved(tmp_path):
    x, v = nc.Input(3, name="x"), nc.Input(3, name="v")
    y = nc.GELU(approximate="tanh")(nc.Dense(3, 2)(x))
    model = nc.Model([x, v], nc.jvp(y, x, v), seed=0)
    model.save(tmp_path / "m.safetensors")
    loaded = nc.load(tmp_path / "m.safetensors")
    assert np.array_equal(loaded.predict([X, V]), model.predict([X, V]))


def test_what_has_no_tangent_says_so():
    x, v = nc.Input(3), nc.Input(3)
    with pytest.raises(NotImplementedError, match="ReLU"):
        nc.jvp(nc.ReLU()(x), x, v)
    with pytest.raises(ValueError, match=r"tangents must have the widths of inputs, \[3\]; got \[2\]"):
        nc.jvp(nc.Tanh()(x), x, nc.Input(2))
