"""Gradients of whole models against central differences, and whether that check detects errors."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nncore as nc
from nncore import gradcheck
from nncore.layers.activations import ENTRIES as EVERY

ACTIVATIONS = {
    "identity": nc.Identity,
    "sigmoid": nc.Sigmoid,
    "tanh": nc.Tanh,
    "relu": nc.ReLU,
    "softmax": nc.Softmax,
    "log_softmax": nc.LogSoftmax,
}
ENDINGS = {
    "half_squared_error": None,
    "mean_squared_error": None,
    "cross_entropy": nc.Softmax,
    "binary_cross_entropy": nc.Sigmoid,
    "softmax_cross_entropy": None,
    "sigmoid_cross_entropy": None,
}


def grow(draw, value, width, shared):
    """Adds a new layer, a layer used before, or two branches that join again."""
    kind = draw(st.sampled_from(["dense", "shared", "sum", "product", "concatenation"]))
    out = width if kind == "shared" else draw(st.integers(1, 65))
    names = [name for name in sorted(ACTIVATIONS) if out > 1 or "softmax" not in name]
    activation = ACTIVATIONS[draw(st.sampled_from(names))]()
    if kind == "shared":
        layer = shared.setdefault(width, nc.Dense(width, width))
        return activation(layer(value)), width
    if kind == "dense":
        return activation(nc.Dense(width, out)(value)), out
    left = activation(nc.Dense(width, out)(value))
    right = nc.Tanh()(nc.Dense(width, out, bias=False)(value))
    if kind == "concatenation":
        return nc.Concatenate()(left, right), 2 * out
    return (left + right, out) if kind == "sum" else (left * right, out)


@st.composite
def problems(draw):
    """A random float64 graph with a batch, targets, a loss and perhaps sample weights."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    width = draw(st.integers(1, 65))
    x = value = nc.Input(width)
    shared = {}
    for _ in range(draw(st.integers(0, 5))):
        value, width = grow(draw, value, width, shared)
    loss = draw(st.sampled_from(sorted(ENDINGS)))
    classes = draw(st.integers(2 if loss in ("cross_entropy", "softmax_cross_entropy") else 1, 65))
    value = nc.Dense(width, classes)(value)
    if ENDINGS[loss] is not None:
        value = ENDINGS[loss]()(value)
    model = nc.Model(x, value, dtype=np.float64, seed=draw(st.integers(0, 1000)))
    model.parameters[:] += 0.1 * random.standard_normal(model.parameters.size)  # moves biases away from 0 too
    rows = draw(st.integers(1, 33))
    if loss.endswith("cross_entropy") and loss.split("_")[0] in ("cross", "softmax") and draw(st.booleans()):
        y = random.integers(0, classes, rows)
    else:
        y = random.random((rows, classes))
    weight = random.random(rows) + 0.1 if draw(st.booleans()) else None
    return model, random.standard_normal((rows, model.inputs[0].features)), y, loss, weight


def test_gradients_of_random_graphs():
    checked = left_out = 0

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(problems())
    def check(problem):
        nonlocal checked, left_out
        model, x, y, loss, weight = problem
        result = nc.check_gradients(model, x, y, loss, sample_weight=weight, max_entries=16)
        checked += sum(len(block.entries) for block in result.blocks)
        left_out += result.kinks

    check()
    assert checked > 1000
    assert left_out < 0.05 * checked


# The check itself ------------------------------------------------------------------------------------------


class Backpropagation:
    """A network by hand: two uses of one layer, a sum of two branches, softmax cross-entropy with sample
    weights. `mistake` names the error that `gradients` makes, or is None."""

    def __init__(self, mistake=None):
        self.mistake = mistake
        random = np.random.default_rng(0)
        self.x = random.standard_normal((7, 4))
        self.labels = np.array([0, 2, 1, 1, 0, 2, 2])
        self.weight = random.random(7) + 0.5
        self.shared, self.head = nc.Dense(4, 4), nc.Dense(4, 3)
        x = nc.Input(4)
        first = nc.Tanh()(self.shared(x))
        second = nc.Sigmoid()(self.shared(first))
        self.model = nc.Model(x, self.head(first + second), dtype=np.float64, seed=5)
        self.model.parameters[:] += 0.2 * random.standard_normal(self.model.parameters.size)

    def gradients(self):
        """dL/d(shared.weight), d(shared.bias), d(head.weight), d(head.bias)."""
        bug = self.mistake
        w, b, v, c = self.shared.weight, self.shared.bias, self.head.weight, self.head.bias
        x = self.x
        z1 = x @ w.T + b
        a1 = np.tanh(z1)
        z2 = a1 @ w.T + b
        a2 = 1 / (1 + np.exp(-z2))
        s = a1 + a2
        logits = s @ v.T + c
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        y = np.eye(3)[np.roll(self.labels, 1) if bug == "labels of other samples" else self.labels]
        target = 0 if bug == "softmax without the labels" else y
        scale = self.weight / self.weight.sum()
        if bug == "weights ignored":
            scale = np.full(7, 1 / 7)
        elif bug == "sum instead of mean":
            scale = self.weight
        delta = (e / e.sum(axis=1, keepdims=True) - target) * scale[:, None]
        if bug == "wrong sign":
            delta = -delta

        grad_v = delta.T @ (a2 if bug == "input of one branch only" else s)
        grad_c = delta.mean(axis=0) if bug == "mean over the batch in the bias" else delta.sum(axis=0)
        if bug == "missing bias":
            grad_c = np.zeros(3)
        grad_s = delta @ v
        slope2 = {
            "missing sigmoid'": np.ones_like(a2),
            "sigmoid' is a": a2,
            "sigmoid' from z": z2 * (1 - z2),
        }.get(bug, a2 * (1 - a2))
        delta2 = grad_s * slope2
        back = delta2 @ (w.T if bug == "transposed weight" else w)
        paths = {"one path lost": (1, 0), "the other path lost": (0, 1), "path counted twice": (1, 2)}
        through, past = paths.get(bug, (1, 1))
        grad_a1 = through * back + past * grad_s
        slope1 = {"missing tanh'": np.ones_like(a1), "tanh' from z": 1 - z1**2, "tanh' is 1 - a": 1 - a1}.get(
            bug, 1 - a1**2
        )
        delta1 = grad_a1 * slope1
        grad_w = delta2.T @ (z1 if bug == "input before its activation" else a1)
        if bug != "one use of the shared weight":
            grad_w = grad_w + delta1.T @ x
        grad_b = delta2.sum(axis=0) + (0 if bug == "one use of the shared bias" else delta1.sum(axis=0))
        if bug == "transposed gradient":
            grad_w = grad_w.T
        elif bug == "last sample left out":
            grad_v = delta[:-1].T @ s[:-1]
        elif bug == "float32 on the way":
            grad_w = grad_w.astype(np.float32)
        return grad_w, grad_b, grad_v, grad_c

    def check(self, monkeypatch):
        """Runs check_gradients with the manual gradients in place of the library's."""
        make_objective = gradcheck.make_objective

        def with_own_gradients(model, *arguments):
            objective = make_objective(model, *arguments)

            def fill(*_, **__):
                layers = (self.shared, self.head)
                views = [view for layer in layers for view in (layer.grad_weight, layer.grad_bias)]
                for view, gradient in zip(views, self.gradients(), strict=True):
                    view[...] = gradient
                return 0.0

            objective.loss_and_gradients = fill
            return objective

        monkeypatch.setattr(gradcheck, "make_objective", with_own_gradients)
        loss = "softmax_cross_entropy"
        return nc.check_gradients(
            self.model, self.x, self.labels, loss, sample_weight=self.weight, raise_error=False
        )


MISTAKES = [
    "wrong sign",
    "labels of other samples",
    "softmax without the labels",
    "weights ignored",
    "sum instead of mean",
    "input of one branch only",
    "mean over the batch in the bias",
    "missing bias",
    "missing sigmoid'",
    "sigmoid' is a",
    "sigmoid' from z",
    "transposed weight",
    "one path lost",
    "the other path lost",
    "path counted twice",
    "missing tanh'",
    "tanh' from z",
    "tanh' is 1 - a",
    "input before its activation",
    "one use of the shared weight",
    "one use of the shared bias",
    "transposed gradient",
    "last sample left out",
    "float32 on the way",
]


def test_the_check_passes_gradients_that_are_right(monkeypatch):
    assert Backpropagation().check(monkeypatch).ok


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_check_notices(mistake, monkeypatch):
    right, wrong = Backpropagation().gradients(), Backpropagation(mistake).gradients()
    assert any(not np.array_equal(a, b) for a, b in zip(right, wrong, strict=True))
    result = Backpropagation(mistake).check(monkeypatch)
    assert not result.ok
    assert result.kinks == 0


def test_the_library_agrees_with_backpropagation_by_hand():
    by_hand = Backpropagation()
    by_hand.model.loss_and_gradients(by_hand.x, by_hand.labels, "softmax_cross_entropy", by_hand.weight)
    shared, head = by_hand.shared, by_hand.head
    library = (shared.grad_weight, shared.grad_bias, head.grad_weight, head.grad_bias)
    for ours, expected in zip(library, by_hand.gradients(), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-14 * np.abs(expected).max())


def embedded():
    rows = nc.Input(3, is_integer=True)
    return nc.Model(rows, nc.Dense(6, 2)(nc.Embedding(7, 2)(rows)), seed=0)


def joined():
    x = nc.Input(4)
    gate, value = nc.Sigmoid()(nc.Dense(4, 5)(x)), nc.GELU()(nc.Dense(4, 5)(x))
    return nc.Model(x, nc.Dense(10, 2)(nc.Concatenate()(gate * value, value - gate)), seed=0)


STACKS = {
    **{kind: lambda make=make: [make()] for kind, make in EVERY.items()},
    "dropout": lambda: [nc.Tanh(), nc.Dropout(0.5)],
    "batch norm": lambda: [nc.BatchNorm(5), nc.GELU()],
    "layer norm": lambda: [nc.LayerNorm(5), nc.ReLU()],
    "prelu": lambda: [nc.PReLU(5)],
}
SHARING = {
    **{name: lambda make=make: nc.Sequential(nc.Dense(4, 5), *make(), nc.Dense(5, 2), seed=0)
       for name, make in STACKS.items()},
    "embedding": embedded,
    "branches": joined,
}  # fmt: skip


@pytest.mark.parametrize("case", SHARING)
def test_the_rows_of_a_jacobian_share_one_forward(case):
    model = SHARING[case]()
    x = np.random.default_rng(1).integers(0, 7, (6, model.inputs[0].features))
    model.forward(x)
    for output in (0, 1, 0):
        gradient = np.eye(2)[np.full(6, output)]
        found = model.backward(gradient)
        fresh = SHARING[case]()
        fresh.forward(x)
        expected = fresh.backward(gradient)
        assert model.gradients.tobytes() == fresh.gradients.tobytes()
        assert np.array_equal(found, expected)
    assert model.gradients.any()


def test_another_call_ends_what_backward_may_use():
    model = nc.mlp([3, 4, 2], seed=0)
    trainer, x, gradient = nc.Trainer(model, "mean_squared_error"), np.ones((4, 3)), np.ones((4, 2))
    uses = {
        "step": lambda: trainer.step(x, gradient),
        "fit": lambda: trainer.fit(x, gradient, progress=False),
        "loss_and_gradients": lambda: model.loss_and_gradients(x, gradient, "mean_squared_error"),
    }
    for use in uses.values():
        model.forward(x)
        model.backward(gradient)
        use()
        with pytest.raises(RuntimeError, match="backward needs the values of a forward pass"):
            model.backward(gradient)
    model.forward(x)
    for _ in range(2):  # predictions and evaluations use separate memory
        model.predict(x[:1])
        trainer.evaluate(x, gradient)
        model.backward(gradient)
