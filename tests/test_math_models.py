"""The models of docs/math.md, against plain Python loops and central differences."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest

import nncore as nc
from nncore import functional as F
from scalar_math import (
    Array,
    assert_gradient,
    assert_same,
    back,
    draw,
    layer,
    one_hot,
    sigmoid,
    soft_labels,
    softmax,
)


def dense(in_features: int, out_features: int, seed: int) -> nc.Dense:
    return nc.Dense(in_features, out_features, name=f"dense{seed}")


def set_parameters(*layers: nc.Dense) -> None:
    """Sets random weights and biases. Layers have arrays only once a model is built from them."""
    for seed, one in enumerate(layers):
        one.weight[...] = draw(*one.weight.shape, seed=seed) / math.sqrt(one.weight.shape[1])
        one.bias[...] = draw(*one.bias.shape, seed=100 + seed) / 2


def sequential(*layers: object) -> nc.Sequential:
    return nc.Sequential(*layers, dtype=np.float64, seed=0)


def graph(x: object, y: object) -> nc.Model:
    return nc.Model(x, y, dtype=np.float64, seed=0)


def assert_model_gradients(model: nc.Model, x: Array, y: Array, loss: str) -> None:
    """Compares all of model.gradients with central differences of the loss of predictions."""
    value = model.loss_and_gradients(x, y, loss)
    gradients = model.gradients.copy()

    def loss_of_predictions() -> float:
        return getattr(F, loss)(model.predict(x), y)

    assert_same(value, loss_of_predictions(), operations=100)
    assert_gradient(loss_of_predictions, model.parameters, gradients)


def test_feedforward() -> None:
    layers = [dense(3, 5, 0), dense(5, 4, 1), dense(4, 4, 2), dense(4, 2, 3)]
    model = sequential(layers[0], nc.Tanh(), layers[1], nc.ReLU(), layers[2], nc.Sigmoid(), layers[3])
    set_parameters(*layers)
    activations = [math.tanh, lambda z: max(z, 0.0), sigmoid, lambda z: z]
    x = draw(6, 3)
    expected = []
    for row in x:
        a = row.tolist()
        for one, f in zip(layers, activations, strict=True):
            a = [f(z_k) for z_k in layer(a, one.weight, one.bias)]
        expected.append(a)
    assert_same(model.predict(x), expected, operations=60)
    assert_same(model.forward(x), expected, operations=60)


def test_delta_recursion() -> None:
    layers = [dense(3, 4, 0), dense(4, 5, 1), dense(5, 2, 2)]
    model = sequential(layers[0], nc.Sigmoid(), layers[1], nc.Sigmoid(), layers[2], nc.Sigmoid())
    set_parameters(*layers)
    x, t = draw(1, 3), draw(1, 2, seed=7)
    outputs = [x[0].tolist()]
    for one in layers:
        outputs.append([sigmoid(z) for z in layer(outputs[-1], one.weight, one.bias)])

    o = outputs[3]
    delta = [(o[j] - t[0, j]) * o[j] * (1 - o[j]) for j in range(2)]
    deltas = [delta]
    for depth in (2, 1):
        o, weight = outputs[depth], layers[depth].weight
        delta = [
            sum(weight[i, j] * delta[i] for i in range(weight.shape[0])) * o[j] * (1 - o[j])
            for j in range(weight.shape[1])
        ]
        deltas.insert(0, delta)

    model.loss_and_gradients(x, t, "half_squared_error")
    for one, expected in zip(layers, deltas, strict=True):
        assert_same(one.grad_bias, expected, operations=100)  # for one sample the gradient is delta itself
    assert_model_gradients(model, x, t, "half_squared_error")


def test_two_layer_linear() -> None:
    first, second = dense(2, 2, 0), dense(2, 2, 1)
    model = sequential(first, second)
    first.weight[...], first.bias[...] = [[1.0, 2.0], [3.0, -1.0]], [0.5, -0.5]
    second.weight[...], second.bias[...] = [[2.0, -1.0], [1.0, 4.0]], [1.0, 0.0]
    x, y = np.array([[1.0, 2.0]]), np.array([[9.0, 9.0]])
    # z1 = (5.5, 0.5), z2 = (11.5, 7.5), delta2 = (2.5, -1.5), delta1 = (2*2.5 - 1.5, -2.5 - 4*1.5)
    assert model.predict(x).tolist() == [[11.5, 7.5]]
    assert model.loss_and_gradients(x, y, "half_squared_error") == 0.5 * (2.5**2 + 1.5**2)
    assert second.grad_bias.tolist() == [2.5, -1.5]
    assert second.grad_weight.tolist() == [[2.5 * 5.5, 2.5 * 0.5], [-1.5 * 5.5, -1.5 * 0.5]]
    assert first.grad_bias.tolist() == [3.5, -8.5]
    assert first.grad_weight.tolist() == [[3.5, 7.0], [-8.5, -17.0]]
    assert_model_gradients(model, x, y, "half_squared_error")

    # For any number of layers, each delta follows from the next layer's delta and weights.
    layers = [dense(3, 4, 0), dense(4, 2, 1), dense(2, 5, 2), dense(5, 3, 3)]
    model = sequential(*layers)
    set_parameters(*layers)
    model.loss_and_gradients(draw(1, 3, seed=1), draw(1, 3, seed=2), "half_squared_error")
    for one, following in itertools.pairwise(layers):
        assert_same(
            one.grad_bias, back(following.grad_bias.tolist(), following.weight), operations=20, scale=4.0
        )


def test_gradient_descent() -> None:
    layers = [dense(3, 4, 0), dense(4, 2, 1)]
    model = sequential(layers[0], nc.Tanh(), layers[1])
    set_parameters(*layers)
    x, y, rate = draw(5, 3), draw(5, 2, seed=1), 0.05
    loss = model.loss_and_gradients(x, y, "half_squared_error")
    expected = [
        [[p[i] - rate * g[i] for i in np.ndindex(p.shape)] for p, g in pairs]
        for pairs in (((one.weight, one.grad_weight), (one.bias, one.grad_bias)) for one in layers)
    ]
    trainer = nc.Trainer(model, loss="half_squared_error", optimizer=nc.SGD(rate), seed=0)
    assert_same(trainer.step(x, y), loss, operations=20)
    for one, (weight, bias) in zip(layers, expected, strict=True):
        assert_same(np.ravel(one.weight), weight, operations=4)
        assert_same(np.ravel(one.bias), bias, operations=4)
    losses = [loss] + [trainer.step(x, y) for _ in range(20)]
    assert all(after < before for before, after in itertools.pairwise(losses))


def expanded_terms(w: Array, x: Sequence[float], z: Sequence[float]) -> dict[tuple[int, int, int], float]:
    """(k, i, j): d z2_k / d w_ij of z2 = W z1 + b, z1 = W x + b; counted from 1 as on paper."""
    w11, w12, w21, w22 = (float(v) for v in w.ravel())
    (x1, x2), (z1, z2) = x, z
    return {
        (1, 1, 1): z1 + w11 * x1,
        (1, 1, 2): z2 + w11 * x2,
        (2, 2, 1): z1 + w22 * x1,
        (2, 2, 2): z2 + w22 * x2,
        (2, 1, 1): w21 * x1,
        (2, 1, 2): w21 * x2,
        (1, 2, 1): w12 * x1,
        (1, 2, 2): w12 * x2,
    }


def test_shared_weights() -> None:
    shared = dense(2, 2, 0)
    source = nc.Input(2)
    model = graph(source, shared(shared(source)))
    set_parameters(shared)
    x, y = draw(1, 2, seed=3), draw(1, 2, seed=4)
    z1 = layer(x[0].tolist(), shared.weight, shared.bias)
    z2 = layer(z1, shared.weight, shared.bias)
    assert_same(model.predict(x), [z2], operations=12, scale=4.0)
    terms = expanded_terms(shared.weight, x[0].tolist(), z1)
    for k in (1, 2):
        model.forward(x)
        model.backward(np.array([[1.0 if k == 1 else 0.0, 1.0 if k == 2 else 0.0]]))
        for i in (1, 2):
            for j in (1, 2):
                assert_same(shared.grad_weight[i - 1, j - 1], terms[k, i, j], operations=16, scale=4.0)

    # For a whole batch: dL/dW = delta2^T z1 + delta1^T x, dL/db = sum (delta2 + delta1).
    x, y = draw(3, 2, seed=5), draw(3, 2, seed=6)
    model.loss_and_gradients(x, y, "half_squared_error")
    grad_weight, grad_bias = np.zeros((2, 2)), np.zeros(2)
    for n in range(3):
        z1 = layer(x[n].tolist(), shared.weight, shared.bias)
        z2 = layer(z1, shared.weight, shared.bias)
        delta2 = [(z2[k] - y[n, k]) / 3 for k in range(2)]
        delta1 = back(delta2, shared.weight)
        for i in range(2):
            grad_bias[i] += delta2[i] + delta1[i]
            for j in range(2):
                grad_weight[i, j] += delta2[i] * z1[j] + delta1[i] * x[n, j]
    assert_same(shared.grad_weight, grad_weight, operations=50, scale=10.0)
    assert_same(shared.grad_bias, grad_bias, operations=50, scale=10.0)
    assert_model_gradients(model, x, y, "half_squared_error")


@pytest.mark.parametrize("pattern", ["s", "sss", "ssss", "sssss", "so", "os", "sos", "soso", "ossos"])
def test_shared_weights_at_any_depth(pattern: str) -> None:
    """s is the shared layer, o another one, with tanh in between."""
    source = nc.Input(3)
    shared, own, value = dense(3, 3, 99), [], source
    for position, kind in enumerate(pattern):
        one = shared if kind == "s" else dense(3, 3, position)
        if kind == "o":
            own.append(one)
        value = nc.Tanh()(one(value))
    model = graph(source, value)
    set_parameters(shared, *own)
    assert model.parameters.size == 12 * (1 + len(own))
    x, y = draw(4, 3, seed=1), draw(4, 3, seed=2)

    gradients = {id(one): (np.zeros((3, 3)), np.zeros(3)) for one in (shared, *own)}
    own_layers = iter(own)
    uses = [shared if kind == "s" else next(own_layers) for kind in pattern]
    for n in range(4):
        inputs = [x[n].tolist()]
        for one in uses:
            inputs.append([math.tanh(z) for z in layer(inputs[-1], one.weight, one.bias)])
        grad = [(inputs[-1][k] - y[n, k]) / 4 for k in range(3)]
        for depth in reversed(range(len(uses))):
            delta = [grad[k] * (1 - inputs[depth + 1][k] ** 2) for k in range(3)]
            grad_weight, grad_bias = gradients[id(uses[depth])]
            grad_weight += [[delta[k] * inputs[depth][i] for i in range(3)] for k in range(3)]
            grad_bias += delta
            grad = back(delta, uses[depth].weight)
    model.loss_and_gradients(x, y, "half_squared_error")
    for one in (shared, *own):
        assert_same(one.grad_weight, gradients[id(one)][0], operations=50 * len(pattern), scale=4.0)
        assert_same(one.grad_bias, gradients[id(one)][1], operations=50 * len(pattern), scale=4.0)
    assert_model_gradients(model, x, y, "half_squared_error")


JOINS = {"add": nc.Add, "subtract": nc.Subtract, "multiply": nc.Multiply, "concatenate": nc.Concatenate}


@pytest.mark.parametrize("join", JOINS)
def test_computational_graph(join: str) -> None:
    """A diamond: h = tanh(first x) feeds left and right, whose results join before a last layer."""
    joined = JOINS[join]()
    width = 6 if join == "concatenate" else 3
    first, left, right, last = dense(2, 4, 0), dense(4, 3, 1), dense(4, 3, 2), dense(width, 2, 3)
    source = nc.Input(2)
    h_node = nc.Tanh()(first(source))
    model = graph(source, last(joined(left(h_node), right(h_node))))
    set_parameters(first, left, right, last)
    x, y = draw(3, 2, seed=1), draw(3, 2, seed=2)

    shapes = {"first": (4, 2), "left": (3, 4), "right": (3, 4), "last": (2, width)}
    grad_weight = {name: np.zeros(shape) for name, shape in shapes.items()}
    grad_x = np.zeros((3, 2))
    for n in range(3):
        h = [math.tanh(z) for z in layer(x[n].tolist(), first.weight, first.bias)]
        u, v = layer(h, left.weight, left.bias), layer(h, right.weight, right.bias)
        if join == "add":
            joint = [u[k] + v[k] for k in range(3)]
        elif join == "subtract":
            joint = [u[k] - v[k] for k in range(3)]
        elif join == "multiply":
            joint = [u[k] * v[k] for k in range(3)]
        else:
            joint = u + v
        out = layer(joint, last.weight, last.bias)
        delta = [(out[k] - y[n, k]) / 3 for k in range(2)]
        g = back(delta, last.weight)
        if join == "add":
            grad_u, grad_v = g, g
        elif join == "subtract":
            grad_u, grad_v = g, [-g[k] for k in range(3)]
        elif join == "multiply":
            grad_u, grad_v = [g[k] * v[k] for k in range(3)], [g[k] * u[k] for k in range(3)]
        else:
            grad_u, grad_v = g[:3], g[3:]
        from_left, from_right = back(grad_u, left.weight), back(grad_v, right.weight)
        delta_h = [(from_left[i] + from_right[i]) * (1 - h[i] ** 2) for i in range(4)]
        grad_x[n] = back(delta_h, first.weight)
        for name, d, a in (
            ("last", delta, joint),
            ("left", grad_u, h),
            ("right", grad_v, h),
            ("first", delta_h, x[n]),
        ):
            grad_weight[name] += [[d_k * a_i for a_i in a] for d_k in d]

    model.loss_and_gradients(x, y, "half_squared_error")
    for name, one in (("first", first), ("left", left), ("right", right), ("last", last)):
        assert_same(one.grad_weight, grad_weight[name], operations=100, scale=10.0)
    grad_input = model.backward((model.forward(x) - y) / 3)
    assert_same(grad_input, grad_x, operations=100, scale=10.0)
    assert_model_gradients(model, x, y, "half_squared_error")


@pytest.mark.parametrize("join", JOINS)
def test_computational_graph_with_a_value_joined_to_itself(join: str) -> None:
    """The same value twice: u + u has the gradient 2 g, u - u 0, u o u 2 g o u, [u, u] the sum of halves."""
    joined = JOINS[join]()
    one = dense(2, 3, 0)
    source = nc.Input(2)
    value = one(source)
    model = graph(source, joined(value, value))
    set_parameters(one)
    x = draw(1, 2, seed=1)
    output = model.forward(x)
    g = draw(*output.shape, seed=2)
    model.backward(g)
    u = layer(x[0].tolist(), one.weight, one.bias)
    if join == "add":
        expected = [2 * g[0, k] for k in range(3)]
    elif join == "subtract":
        expected = [0.0] * 3
    elif join == "multiply":
        expected = [2 * g[0, k] * u[k] for k in range(3)]
    else:
        expected = [g[0, k] + g[0, k + 3] for k in range(3)]
    assert_same(one.grad_bias, expected, operations=20, scale=10.0)


def test_computational_graph_with_a_layer_on_two_branches() -> None:
    first, second, shared = dense(2, 3, 0), dense(2, 3, 1), dense(3, 2, 2)
    source = nc.Input(2)
    a_node, b_node = nc.Tanh()(first(source)), nc.Sigmoid()(second(source))
    model = graph(source, nc.Multiply()(shared(a_node), shared(b_node)))
    set_parameters(first, second, shared)
    x, y = draw(3, 2, seed=1), draw(3, 2, seed=2)
    grad_weight, grad_bias = np.zeros((2, 3)), np.zeros(2)
    for n in range(3):
        a = [math.tanh(z) for z in layer(x[n].tolist(), first.weight, first.bias)]
        b = [sigmoid(z) for z in layer(x[n].tolist(), second.weight, second.bias)]
        u, v = layer(a, shared.weight, shared.bias), layer(b, shared.weight, shared.bias)
        g = [(u[k] * v[k] - y[n, k]) / 3 for k in range(2)]
        for k in range(2):
            grad_bias[k] += g[k] * v[k] + g[k] * u[k]
            for i in range(3):
                grad_weight[k, i] += g[k] * v[k] * a[i] + g[k] * u[k] * b[i]
    model.loss_and_gradients(x, y, "half_squared_error")
    assert_same(shared.grad_weight, grad_weight, operations=100, scale=10.0)
    assert_same(shared.grad_bias, grad_bias, operations=100, scale=10.0)
    assert_model_gradients(model, x, y, "half_squared_error")


def test_tanh_softmax_classifier() -> None:
    p, n_inner, classes = 3, 4, 5
    first, second = dense(p, n_inner, 0), dense(n_inner, classes, 1)
    model = sequential(first, nc.Tanh(), second, nc.Softmax())
    set_parameters(first, second)
    x = draw(1, p, seed=1)
    w2 = second.weight
    z1 = layer(x[0].tolist(), first.weight, first.bias)  # (14), with b_1
    a1 = [math.tanh(z) for z in z1]
    y_hat = softmax(layer(a1, w2, second.bias))
    assert_same(model.predict(x), [y_hat], operations=60)
    for y in (one_hot(np.array([3]), classes), soft_labels(1, classes)):
        value = model.loss_and_gradients(x, y, "cross_entropy")
        assert_same(value, -sum(y[0, k] * math.log(y_hat[k]) for k in range(classes)), operations=60)
        delta1 = [y_hat[k] - y[0, k] for k in range(classes)]  # (20)
        delta2 = [
            (1 - math.tanh(z1[i]) ** 2) * sum(w2[k, i] * delta1[k] for k in range(classes))
            for i in range(n_inner)
        ]  # (21)
        for k in range(classes):
            assert_same(second.grad_bias[k], delta1[k], operations=60)  # (17)
            for i in range(n_inner):
                assert_same(second.grad_weight[k, i], delta1[k] * a1[i], operations=60)  # (16)
        for i in range(n_inner):
            assert_same(first.grad_bias[i], delta2[i], operations=80)  # (19)
            for j in range(p):
                entry = sum(w2[k, i] * delta1[k] for k in range(classes)) * (1 - a1[i] ** 2) * x[0, j]
                assert_same(first.grad_weight[i, j], entry, operations=80, scale=2.0)  # (13), (15)
                assert_same(first.grad_weight[i, j], delta2[i] * x[0, j], operations=80, scale=2.0)  # (18)
    assert_model_gradients(model, draw(4, p, seed=2), soft_labels(4, classes), "cross_entropy")


def test_sigmoid_mlp() -> None:
    first, second = dense(3, 4, 0), dense(4, 2, 1)
    model = sequential(first, nc.Sigmoid(), second, nc.Sigmoid())
    set_parameters(first, second)
    x, y = draw(1, 3, seed=1), draw(1, 2, seed=2)
    h = [sigmoid(z) for z in layer(x[0].tolist(), first.weight, first.bias)]
    y_hat = [sigmoid(z) for z in layer(h, second.weight, second.bias)]
    value = model.loss_and_gradients(x, y, "half_squared_error")
    assert_same(value, sum(0.5 * (y[0, i] - y_hat[i]) ** 2 for i in range(2)), operations=60)
    for j in range(2):
        for a in range(4):
            entry = -(y[0, j] - y_hat[j]) * y_hat[j] * (1 - y_hat[j]) * h[a]
            assert_same(second.grad_weight[j, a], entry, operations=60)
    for a in range(4):
        for b in range(3):
            entry = sum(
                -(y[0, i] - y_hat[i])
                * y_hat[i]
                * (1 - y_hat[i])
                * second.weight[i, a]
                * h[a]
                * (1 - h[a])
                * x[0, b]
                for i in range(2)
            )
            assert_same(first.grad_weight[a, b], entry, operations=80)
    assert_model_gradients(model, draw(5, 3, seed=3), draw(5, 2, seed=4), "half_squared_error")


def train(model: nc.Model, x: Array, y: Array, epochs: dict[float, int]) -> None:
    """Trains with Adam on full batches, at falling learning rates."""
    for rate, count in epochs.items():
        trainer = nc.Trainer(model, loss="mean_squared_error", optimizer=nc.Adam(rate), seed=0)
        trainer.fit(x, y, epochs=count, batch_size=len(x), shuffle=False, progress=False)


def test_square_function() -> None:
    model = nc.mlp([1, 16, 1], activation="tanh", dtype=np.float64, seed=0)
    x = -np.cos(np.linspace(0.0, np.pi, 64))[:, None]  # denser towards the ends, where fits are worst
    train(model, x, x**2, {2e-2: 2000, 5e-3: 2000, 1e-3: 1000})
    between = np.linspace(-1.0, 1.0, 1001)[:, None]
    assert np.max(np.abs(model.predict(between) - between**2)) <= 0.01


def sphere(theta: Array, phi: Array) -> Array:
    return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=1)


def test_sphere_points() -> None:
    model = nc.mlp([2, 32, 32, 3], activation="tanh", dtype=np.float64, seed=0)
    theta, phi = (g.ravel() for g in np.meshgrid(np.linspace(0, np.pi, 16), np.linspace(-np.pi, np.pi, 32)))
    train(model, np.stack([theta, phi], axis=1), sphere(theta, phi), {2e-2: 1200, 5e-3: 800, 1e-3: 500})
    rng = np.random.default_rng(1)
    theta, phi = rng.uniform(0, np.pi, 500), rng.uniform(-np.pi, np.pi, 500)
    distance = np.linalg.norm(model.predict(np.stack([theta, phi], axis=1)) - sphere(theta, phi), axis=1)
    assert np.mean(distance) <= 0.02
