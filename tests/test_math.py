"""The functions of docs/math.md, against plain Python loops and central differences.

For each heading under "Rows" of that page there is one test, here or in test_math_models.py.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nncore as nc
from nncore import functional as F
from scalar_math import (
    Array,
    assert_gradient,
    assert_same,
    draw,
    layer,
    one_hot,
    sigmoid,
    soft_labels,
    softmax,
)

ROOT = Path(__file__).resolve().parents[1]


def test_layer_jacobians() -> None:
    weight, bias, x = draw(3, 4), draw(3), draw(1, 4)
    inner = F.sigmoid(x)
    for k in range(3):
        e_k = np.zeros((1, 3))
        e_k[0, k] = 1.0

        grad_x, grad_weight, grad_bias = F.dense_backward(e_k, x, weight)
        for i in range(3):
            assert grad_bias[i] == (1.0 if i == k else 0.0)
            for j in range(4):
                assert grad_weight[i, j] == (x[0, j] if i == k else 0.0)
        for j in range(4):
            assert grad_x[0, j] == weight[k, j]

        def u_k(k: int = k) -> float:
            return F.dense_forward(x, weight, bias)[0, k]

        for array, gradient in ((x, grad_x), (weight, grad_weight), (bias, grad_bias)):
            assert_gradient(u_k, array, gradient)

        # The fourth derivative: of W_k f(x) + b_k.
        grad_inner, _, _ = F.dense_backward(e_k, inner, weight)
        grad_x = F.sigmoid_backward(grad_inner, inner)
        for j in range(4):
            f = sigmoid(x[0, j])
            assert_same(grad_x[0, j], weight[k, j] * f * (1 - f), operations=8)
        assert_gradient(lambda k=k: F.dense_forward(F.sigmoid(x), weight, bias)[0, k], x, grad_x)


DENSE_SHAPES = [(1, 1, 1), (2, 3, 4), (5, 1, 3), (3, 7, 1), (4, 6, 5)]


@pytest.mark.parametrize(("batch", "inputs", "outputs"), DENSE_SHAPES)
def test_dense_forward(batch: int, inputs: int, outputs: int) -> None:
    x, weight, bias = draw(batch, inputs), draw(outputs, inputs), draw(outputs)
    z = F.dense_forward(x, weight, bias)
    assert_same(z, [layer(row, weight, bias) for row in x], operations=2 * inputs + 2, scale=4 * inputs + 2)
    no_bias = [layer(row, weight, np.zeros(outputs)) for row in x]
    assert_same(F.dense_forward(x, weight), no_bias, operations=2 * inputs + 2, scale=4 * inputs)


def dense_gradients(
    batch: int, inputs: int, outputs: int
) -> tuple[Array, Array, Array, Array, Callable[[], float]]:
    """delta, x, weight, bias, and a loss L = sum delta o Z, whose dL/dZ is delta."""
    delta, x = draw(batch, outputs, seed=1), draw(batch, inputs, seed=2)
    weight, bias = draw(outputs, inputs, seed=3), draw(outputs, seed=4)
    return delta, x, weight, bias, lambda: float(np.sum(delta * F.dense_forward(x, weight, bias)))


@pytest.mark.parametrize(("batch", "inputs", "outputs"), DENSE_SHAPES)
def test_dense_grad_weight(batch: int, inputs: int, outputs: int) -> None:
    delta, x, weight, _, loss = dense_gradients(batch, inputs, outputs)
    expected = np.zeros((outputs, inputs))
    for k in range(outputs):
        for i in range(inputs):
            for n in range(batch):
                expected[k, i] += delta[n, k] * x[n, i]
    _, grad_weight, _ = F.dense_backward(delta, x, weight)
    assert_same(grad_weight, expected, operations=2 * batch + 1, scale=4 * batch)
    assert_gradient(loss, weight, grad_weight)


@pytest.mark.parametrize(("batch", "inputs", "outputs"), DENSE_SHAPES)
def test_dense_grad_bias(batch: int, inputs: int, outputs: int) -> None:
    delta, x, weight, bias, loss = dense_gradients(batch, inputs, outputs)
    expected = np.zeros(outputs)
    for k in range(outputs):
        for n in range(batch):
            expected[k] += delta[n, k]
    _, _, grad_bias = F.dense_backward(delta, x, weight)
    assert_same(grad_bias, expected, operations=2 * batch, scale=2 * batch)
    assert_gradient(loss, bias, grad_bias)


@pytest.mark.parametrize(("batch", "inputs", "outputs"), DENSE_SHAPES)
def test_dense_grad_input(batch: int, inputs: int, outputs: int) -> None:
    delta, x, weight, _, loss = dense_gradients(batch, inputs, outputs)
    expected = np.zeros((batch, inputs))
    for n in range(batch):
        for i in range(inputs):
            for k in range(outputs):
                expected[n, i] += delta[n, k] * weight[k, i]
    grad_x, _, _ = F.dense_backward(delta, x, weight)
    assert_same(grad_x, expected, operations=2 * outputs + 1, scale=4 * outputs)
    assert_gradient(loss, x, grad_x)


def test_sigmoid() -> None:
    z = np.array([[-30.0, -2.5, -1e-3, 0.0, 0.3, 1.0, 4.0, 30.0]])
    a = F.sigmoid(z)
    assert_same(a, [[sigmoid(v) for v in z[0]]], operations=4)
    derivative = F.sigmoid_backward(np.ones_like(z), a)
    assert_same(derivative, [[sigmoid(v) * (1 - sigmoid(v)) for v in z[0]]], operations=8)
    assert_same(derivative, [[sigmoid(v) * sigmoid(-v) for v in z[0]]], operations=8)
    assert_gradient(lambda: float(np.sum(F.sigmoid(z))), z, derivative)
    # No overflow on either side.
    assert F.sigmoid(np.array([[-1e4, 1e4, -np.inf, np.inf]])).tolist() == [[0.0, 1.0, 0.0, 1.0]]


def test_tanh() -> None:
    z = np.array([[-20.0, -2.5, -1e-3, 0.0, 0.3, 1.0, 4.0, 20.0]])
    a = F.tanh(z)
    assert_same(a, [[math.tanh(v) for v in z[0]]], operations=4)
    derivative = F.tanh_backward(np.ones_like(z), a)
    assert_same(derivative, [[1 - math.tanh(v) ** 2 for v in z[0]]], operations=8)
    assert_gradient(lambda: float(np.sum(F.tanh(z))), z, derivative)
    assert F.tanh(np.array([[-1e4, 1e4, -np.inf, np.inf]])).tolist() == [[-1.0, 1.0, -1.0, 1.0]]


def test_softmax() -> None:
    z = draw(3, 5)
    y = F.softmax(z)
    logs = F.log_softmax(z)
    for n in range(3):
        expected = softmax(z[n].tolist())
        assert_same(y[n], expected, operations=12)
        assert_same(logs[n], [math.log(v) for v in expected], operations=20)
        assert_same(math.fsum(y[n]), 1.0, operations=12)

    # The Jacobian row by row: row k is the backward pass of e_k.
    for k in range(5):
        e_k = np.zeros((3, 5))
        e_k[:, k] = 1.0
        row, log_row = F.softmax_backward(e_k, y), F.log_softmax_backward(e_k, logs)
        for n in range(3):
            p = softmax(z[n].tolist())
            for i in range(5):
                same = 1.0 if i == k else 0.0
                assert_same(row[n, i], p[i] * (same - p[k]), operations=20)
                assert_same(log_row[n, i], same - p[i], operations=20)
        assert_gradient(lambda k=k: float(np.sum(F.softmax(z)[:, k])), z, row)
        assert_gradient(lambda k=k: float(np.sum(F.log_softmax(z)[:, k])), z, log_row)

    shifted = F.softmax(np.array([[1e4, 1e4 - 1.0, -1e4]]))
    assert_same(shifted, [[sigmoid(1.0), sigmoid(-1.0), 0.0]], operations=12)


ELEMENTWISE: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "identity": (lambda z: z, lambda _: 1.0),
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
    "tanh": (math.tanh, lambda z: 1 - math.tanh(z) ** 2),
    "relu": (lambda z: max(z, 0.0), lambda z: 1.0 if z > 0 else 0.0),
}

#: The points without a derivative; other elementwise activations have none.
KINKS: dict[str, tuple[float, ...]] = {"relu": (0.0,)}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activation_backward(name: str) -> None:
    forward, backward = getattr(F, name), getattr(F, f"{name}_backward")
    f, derivative = ELEMENTWISE[name]
    z, grad_a = draw(4, 6, seed=1), draw(4, 6, seed=2)
    for kink in KINKS.get(name, ()):
        assert np.min(np.abs(z - kink)) > 1e-3
    a = forward(z)
    delta = backward(grad_a, a)
    for index in np.ndindex(z.shape):
        assert_same(a[index], f(z[index]), operations=4)
        assert_same(delta[index], grad_a[index] * derivative(z[index]), operations=10, scale=2.0)
    assert_gradient(lambda: float(np.sum(grad_a * forward(z))), z, delta)
    if name == "relu":
        assert F.relu_backward(np.ones((1, 2)), F.relu(np.array([[0.0, -0.0]]))).tolist() == [[0.0, 0.0]]


def test_half_squared_error() -> None:
    a, y = draw(4, 3, seed=1), draw(4, 3, seed=2)
    for function, gradient_of, factor in (
        (F.half_squared_error, F.half_squared_error_and_gradient, 1.0),
        (F.mean_squared_error, F.mean_squared_error_and_gradient, 2.0 / 3.0),
    ):
        samples = [factor * sum(0.5 * (a[n, k] - y[n, k]) ** 2 for k in range(3)) for n in range(4)]
        assert_same(function(a, y, reduction="none"), samples, operations=10)
        assert_same(function(a, y, reduction="sum"), sum(samples), operations=20)
        assert_same(function(a, y), sum(samples) / 4, operations=20)
        _, gradient = gradient_of(a, y, reduction="sum")
        assert_same(
            gradient, [[factor * (a[n, k] - y[n, k]) for k in range(3)] for n in range(4)], operations=4
        )
        assert_gradient(lambda f=function: f(a, y, reduction="sum"), a, gradient)
        _, mean_gradient = gradient_of(a, y)
        assert_same(mean_gradient, gradient / 4, operations=4)

    # With an activation at the output: delta = f'(z) o (a - y).
    z = draw(4, 3, seed=3)
    a = F.sigmoid(z)
    _, grad_a = F.half_squared_error_and_gradient(a, y, reduction="sum")
    delta = F.sigmoid_backward(grad_a, a)
    for n in range(4):
        for k in range(3):
            o = sigmoid(z[n, k])
            assert_same(delta[n, k], o * (1 - o) * (o - y[n, k]), operations=12, scale=4.0)
    assert_gradient(lambda: F.half_squared_error(F.sigmoid(z), y, reduction="sum"), z, delta)


def test_huber() -> None:
    a, y = draw(3, 4), draw(3, 4, seed=1)
    for delta in (0.3, 1.0, [0.2, 0.5, 1.5, 3.0]):
        width = delta if isinstance(delta, list) else [delta] * 4
        samples, expected = [], np.zeros((3, 4))
        for n in range(3):
            terms = []
            for k in range(4):
                d = a[n, k] - y[n, k]
                near = abs(d) <= width[k]
                terms.append(d * d / 2 if near else width[k] * (abs(d) - width[k] / 2))
                expected[n, k] = (d if near else math.copysign(width[k], d)) / 4
            samples.append(sum(terms) / 4)
        assert_same(F.huber(a, y, delta=delta, reduction="none"), samples, operations=20, scale=4.0)
        _, gradient = F.huber_and_gradient(a, y, delta=delta, reduction="sum")
        assert_same(gradient, expected, operations=4)
        assert_gradient(lambda delta=delta: F.huber(a, y, delta=delta, reduction="sum"), a, gradient)


def test_mean_absolute_error() -> None:
    a, y = draw(3, 4), draw(3, 4, seed=1)
    y[0, 1] = a[0, 1]
    samples = [sum(abs(a[n, k] - y[n, k]) for k in range(4)) / 4 for n in range(3)]
    assert_same(F.mean_absolute_error(a, y, reduction="none"), samples, operations=8, scale=4.0)
    _, gradient = F.mean_absolute_error_and_gradient(a, y, reduction="sum")
    assert gradient.tolist() == [
        [0.0 if (n, k) == (0, 1) else math.copysign(0.25, a[n, k] - y[n, k]) for k in range(4)]
        for n in range(3)
    ]
    assert_gradient(lambda: F.mean_absolute_error(a, y, reduction="sum"), a[1:], gradient[1:])


def test_gaussian_nll() -> None:
    a, y = draw(3, 4), draw(3, 2, seed=1)
    samples, expected = [], np.zeros((3, 4))
    for n in range(3):
        sample = 0.0
        for k in range(2):
            mean, variance = a[n, k], math.exp(a[n, 2 + k])
            # Minus the logarithm of the density, without log(2 pi) / 2.
            density = math.exp(-((mean - y[n, k]) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
            sample += -math.log(density) - math.log(2 * math.pi) / 2
            expected[n, k] = (mean - y[n, k]) / variance
            expected[n, 2 + k] = (1 - (mean - y[n, k]) ** 2 / variance) / 2
        samples.append(sample)
    size = float(np.max(np.abs(expected)))
    assert_same(F.gaussian_nll(a, y, reduction="none"), samples, operations=60, scale=size)
    _, gradient = F.gaussian_nll_and_gradient(a, y, reduction="sum")
    assert_same(gradient, expected, operations=20, scale=size)
    assert_gradient(lambda: F.gaussian_nll(a, y, reduction="sum"), a, gradient)


def test_cross_entropy() -> None:
    p = soft_labels(4, 3)[::-1].copy()
    labels = np.array([2, 0, 1, 1])
    for y in (one_hot(labels, 3), soft_labels(4, 3), np.abs(draw(4, 3))):
        samples = [-sum(y[n, k] * math.log(p[n, k]) for k in range(3) if y[n, k] != 0) for n in range(4)]
        assert_same(F.cross_entropy(p, y, reduction="none"), samples, operations=16)
        value, gradient = F.cross_entropy_and_gradient(p, y, reduction="sum")
        assert_same(value, sum(samples), operations=30)
        assert_same(gradient, [[-y[n, k] / p[n, k] for k in range(3)] for n in range(4)], operations=4)
        assert_gradient(lambda y=y: F.cross_entropy(p, y, reduction="sum"), p, gradient)

    from_labels, label_gradient = F.cross_entropy_and_gradient(p, labels)
    from_one_hot, gradient = F.cross_entropy_and_gradient(p, one_hot(labels, 3))
    assert_same(from_labels, from_one_hot, operations=4)
    assert_same(label_gradient, gradient, operations=4)

    # y_k = 0 contributes 0, even if the probability is 0.
    value, gradient = F.cross_entropy_and_gradient(np.array([[0.0, 0.25, 0.75]]), np.array([[0.0, 1.0, 0.0]]))
    assert_same(value, math.log(4.0), operations=4)
    assert_same(gradient, [[0.0, -4.0, 0.0]], operations=4)

    y = np.abs(draw(4, 3)) / 2
    samples = [
        -sum(y[n, k] * math.log(p[n, k]) + (1 - y[n, k]) * math.log(1 - p[n, k]) for k in range(3))
        for n in range(4)
    ]
    assert_same(F.binary_cross_entropy(p, y, reduction="none"), samples, operations=30)
    _, gradient = F.binary_cross_entropy_and_gradient(p, y, reduction="sum")
    for index in np.ndindex(p.shape):
        expected = (p[index] - y[index]) / (p[index] * (1 - p[index]))
        assert_same(gradient[index], expected, operations=8, scale=1 / (p[index] * (1 - p[index])))
    assert_gradient(lambda: F.binary_cross_entropy(p, y, reduction="sum"), p, gradient)


def test_softmax_cross_entropy() -> None:
    z = draw(4, 5)
    labels = np.array([4, 0, 2, 2])
    for y in (one_hot(labels, 5), soft_labels(4, 5), np.abs(draw(4, 5, seed=3)), np.zeros((4, 5))):
        samples, expected = [], np.zeros((4, 5))
        for n in range(4):
            p = softmax(z[n].tolist())
            samples.append(-sum(y[n, k] * math.log(p[k]) for k in range(5)))
            for i in range(5):
                # From the full Jacobian, and in closed form.
                for k in range(5):
                    expected[n, i] += -y[n, k] / p[k] * p[i] * ((1.0 if i == k else 0.0) - p[k])
                assert_same(p[i] * sum(y[n]) - y[n, i], expected[n, i], operations=60, scale=4.0)
        assert_same(F.softmax_cross_entropy(z, y, reduction="none"), samples, operations=60)
        value, gradient = F.softmax_cross_entropy_and_gradient(z, y, reduction="sum")
        assert_same(value, sum(samples), operations=80)
        assert_same(gradient, expected, operations=60, scale=4.0)
        assert_gradient(lambda y=y: F.softmax_cross_entropy(z, y, reduction="sum"), z, gradient)

        # The same in separate steps.
        a = F.softmax(z)
        _, grad_a = F.cross_entropy_and_gradient(a, y, reduction="sum")
        assert_same(F.softmax_backward(grad_a, a), expected, operations=60, scale=4.0)

    from_labels, label_gradient = F.softmax_cross_entropy_and_gradient(z, labels)
    from_one_hot, gradient = F.softmax_cross_entropy_and_gradient(z, one_hot(labels, 5))
    assert_same(from_labels, from_one_hot, operations=20)
    assert_same(label_gradient, gradient, operations=20)

    # Stable for any finite logits: nothing overflows, and no logarithm of 0 is taken.
    far = np.array([[1e4, 0.0, -1e4]])
    for label, loss in ((0, 0.0), (1, 1e4), (2, 2e4)):
        value, gradient = F.softmax_cross_entropy_and_gradient(far, np.array([label]))
        assert_same(value, loss, operations=4)
        assert_same(gradient, [[1.0, 0.0, 0.0]] - one_hot(np.array([label]), 3), operations=4)


def test_sigmoid_cross_entropy() -> None:
    z, y = draw(4, 3, seed=5), np.abs(draw(4, 3, seed=6)) / 2
    samples = [
        -sum(
            y[n, k] * math.log(sigmoid(z[n, k])) + (1 - y[n, k]) * math.log(sigmoid(-z[n, k]))
            for k in range(3)
        )
        for n in range(4)
    ]
    assert_same(F.sigmoid_cross_entropy(z, y, reduction="none"), samples, operations=40)
    _, gradient = F.sigmoid_cross_entropy_and_gradient(z, y, reduction="sum")
    assert_same(gradient, [[sigmoid(z[n, k]) - y[n, k] for k in range(3)] for n in range(4)], operations=8)
    assert_gradient(lambda: F.sigmoid_cross_entropy(z, y, reduction="sum"), z, gradient)
    far = np.array([[1e4, -1e4]])
    assert_same(F.sigmoid_cross_entropy(far, np.array([[0.0, 1.0]])), 2e4, operations=4)
    assert F.sigmoid_cross_entropy(far, np.array([[1.0, 0.0]])) == 0.0


# The page and this file name the same rows -----------------------------------------------------------------


def rows_of_the_page() -> dict[str, str]:
    page = (ROOT / "docs" / "math.md").read_text(encoding="utf-8")
    rows = page.split("\n## Rows\n")[1].split("\n## ")[0]
    headings = re.split(r"^### (.+)$", rows, flags=re.MULTILINE)
    return dict(zip(headings[1::2], headings[2::2], strict=True))


def test_every_row_of_the_page_has_its_test_and_functions() -> None:
    rows = rows_of_the_page()
    assert len(rows) == 25
    here = Path(__file__).parent
    files = "".join(
        (here / file).read_text(encoding="utf-8") for file in ("test_math.py", "test_math_models.py")
    )
    tests = set(re.findall(r"^def (test_\w+)\(", files, flags=re.MULTILINE))
    headers = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "cpp/include/nncore").glob("*.hpp")
    )
    for row, text in rows.items():
        test = f"test_{row.replace('-', '_')}"
        assert test in tests, f"{row}: no {test}"
        assert f"`{test}`" in text, f"{row}: the page does not name {test}"
        for name in re.findall(r"`F\.(\w+)`", text):
            assert callable(getattr(F, name)), f"{row}: no nncore.functional.{name}"
        for name in re.findall(r"`nncore\.(\w+)", text):
            assert hasattr(nc, name), f"{row}: no nncore.{name}"
        for owner in re.findall(r"C\+\+ ([^\n]*(?:\n  [^\n]*)?)", text):
            for name in re.findall(r"`(?:\w+::)?(\w+)`", owner):
                assert re.search(rf"\b{name}\b", headers), f"{row}: no {name} in the headers"
