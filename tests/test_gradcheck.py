"""check_gradients: its reports and its behavior at its limits."""

import numpy as np
import pytest

import nncore as nc

RNG = np.random.default_rng(0)


def test_parameters_end_as_they_were():
    model = nc.mlp([3, 4, 2], activation="relu", dtype=np.float64, seed=0)
    before = model.parameters.copy()
    nc.check_gradients(model, RNG.standard_normal((5, 3)), RNG.random((5, 2)), "half_squared_error")
    assert np.array_equal(model.parameters, before)


def test_it_reports_a_block_for_each_array():
    model = nc.mlp([3, 4, 2], activation="tanh", dtype=np.float64, seed=0)
    result = nc.check_gradients(model, RNG.standard_normal((5, 3)), RNG.random((5, 2)), "half_squared_error")
    assert [block.name for block in result.blocks] == list(model.named_parameters())
    assert [len(block.entries) for block in result.blocks] == [12, 4, 8, 2]
    assert all(block.relative_error < 1e-10 for block in result.blocks)
    assert "0.weight" in str(result)


def test_a_wrong_loss_gradient_is_named():
    model = nc.mlp([3, 2], dtype=np.float64, seed=0)

    def wrong(output, y):
        gradient = (output - y) / len(y)
        gradient[:, 1] *= 1.001
        return 0.5 * float(((output - y) ** 2).sum()) / len(y), gradient

    x, y = RNG.standard_normal((5, 3)), RNG.random((5, 2))
    before = model.parameters.copy()
    with pytest.raises(AssertionError, match=r"0.weight .* WRONG \[1, ") as caught:
        nc.check_gradients(model, x, y, wrong)
    assert "by differences" in str(caught.value)
    assert np.array_equal(model.parameters, before)
    assert not nc.check_gradients(model, x, y, wrong, raise_error=False).ok


def test_a_loss_gradient_of_nan_is_wrong():
    model = nc.mlp([3, 2], dtype=np.float64, seed=0)
    result = nc.check_gradients(
        model,
        RNG.standard_normal((5, 3)),
        RNG.random((5, 2)),
        lambda output, y: (float((output - y).sum()), np.full_like(output, np.nan)),
        raise_error=False,
    )
    assert not any(block.ok for block in result.blocks)


@pytest.mark.parametrize("size", [1, 30])
def test_a_gradient_that_is_missing_is_no_kink(size):
    model = nc.mlp([3, 4, 2], activation="tanh", dtype=np.float64, seed=0)
    random = np.random.default_rng(0)
    x, y = size * random.standard_normal((5, 3)), random.random((5, 2))

    def missing(output, y):
        return float(((output - y) ** 4).sum()), np.zeros_like(output)

    result = nc.check_gradients(model, x, y, missing, raise_error=False)
    assert result.kinks == 0
    assert not any(block.ok for block in result.blocks)


def test_entries_at_a_kink_are_counted_and_left_out():
    model = nc.mlp([2, 3, 1], activation="relu", dtype=np.float64, seed=0)
    model[0].bias[0] = 0  # with zero weights too, this unit's ReLU is at 0 for every sample
    model[0].weight[0] = 0
    result = nc.check_gradients(model, RNG.standard_normal((5, 2)), RNG.random((5, 1)), "half_squared_error")
    kinks = {block.name: block.kinks for block in result.blocks}
    assert kinks == {"0.weight": ((0, 0), (0, 1)), "0.bias": ((0,),), "2.weight": (), "2.bias": ()}
    assert result.kinks == 3
    assert result.ok


def test_a_step_near_a_kink_is_shortened():
    model = nc.mlp([1, 1, 1], activation="relu", dtype=np.float64, seed=0)
    model.parameters[:] = [1, 0, 1, 0]
    result = nc.check_gradients(model, [[1e-3]], [[1.0]], "half_squared_error")
    assert result.kinks == 0


#: Losses of one output whose value or slope has a kink: the loss, its derivative, and the target that puts
#: the kink at the output.
KINKED = {
    "absolute error": (lambda p, y: abs(p - y), lambda p, y: np.sign(p - y), lambda p: p),
    "quantile": (
        lambda p, y: np.maximum(0.9 * (y - p), 0.1 * (p - y)),
        lambda p, y: np.where(p < y, -0.9, 0.1),
        lambda p: p,
    ),
    "hinge": (
        lambda p, y: np.maximum(1 - p * y, 0),
        lambda p, y: np.where(p * y < 1, -y, 0),
        lambda p: 1 / p,
    ),
    "truncated square": (
        lambda p, y: np.minimum((p - y) ** 2, 1),
        lambda p, y: np.where(abs(p - y) < 1, 2 * (p - y), 0),
        lambda p: p - 1,
    ),
    "huber": (
        lambda p, y: np.where(abs(p - y) < 1, (p - y) ** 2 / 2, abs(p - y) - 0.5),
        lambda p, y: np.clip(p - y, -1, 1),
        lambda p: p + 1,
    ),
}


def kinked_problem(name):
    """A model, inputs, targets away from kinks, a loss with a scalable gradient, and targets at kinks."""
    value, derivative, target = KINKED[name]
    random = np.random.default_rng(0)
    model = nc.mlp([3, 2], dtype=np.float64, seed=0)
    x, y = random.standard_normal((5, 3)), random.uniform(-2, 2, (5, 2))

    def loss(output, y, factor=1.0):
        gradient = derivative(output, y) / len(y)
        gradient[:, 1] *= factor
        return float(value(output, y).sum()) / len(y), gradient

    return model, x, y, loss, target


@pytest.mark.parametrize("name", KINKED)
def test_losses_with_kinks_are_checked_beside_them(name):
    model, x, y, loss, _ = kinked_problem(name)
    result = nc.check_gradients(model, x, y, loss)
    assert result.kinks == 0
    wrong = nc.check_gradients(model, x, y, lambda p, y: loss(p, y, 1.00001), raise_error=False)
    assert wrong.kinks == 0
    assert not any(block.ok for block in wrong.blocks)


@pytest.mark.parametrize("name", KINKED)
def test_entries_are_left_out_where_the_loss_has_a_kink(name):
    model, x, y, loss, target = kinked_problem(name)
    y[0, 0] = target(model.predict(x)[0, 0])
    result = nc.check_gradients(model, x, y, loss)
    kinks = {(block.name, *place) for block in result.blocks for place in block.kinks}
    at_kink = {("0.weight", 0, 0), ("0.weight", 0, 1), ("0.weight", 0, 2), ("0.bias", 0)}
    assert kinks <= at_kink if name == "huber" else kinks == at_kink  # only huber's slope has a kink
    wrong = nc.check_gradients(model, x, y, lambda p, y: loss(p, y, 1.00001), raise_error=False)
    assert wrong.kinks == result.kinks
    assert not any(block.ok for block in wrong.blocks)


@pytest.mark.parametrize("jump", [1.0, 1e-3, 1e-6, 1e-7, 1e-8, 1e-10])
@pytest.mark.parametrize("order", [1, 2])
def test_a_kink_in_reach_of_the_shortest_step_is_no_mistake(order, jump):
    """Wherever the kink is and however small: it is left out or stays within the error bound."""
    model = nc.Sequential(nc.Dense(1, 1, bias=False), dtype=np.float64)
    model.parameters[:] = 0.75
    left_out = []
    for distance in np.linspace(0, 9, 91) * 2.0**-18:

        def loss(output, y, distance=distance):
            beyond = np.maximum(output - 0.75 - distance, 0)
            slope = jump * beyond ** (order - 1) * (beyond > 0)
            return float((output**2 / 2 + jump * beyond**order / order).sum()), output + slope

        result = nc.check_gradients(model, [[1.0]], [[0.0]], loss)
        left_out.append(result.kinks)
    assert not left_out[-1]  # out of reach
    assert any(left_out) == (jump > 1e-7 * 0.75 if order == 1 else jump == 1)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_it_is_right_at_any_scale_of_the_loss(scale):
    model = nc.mlp([3, 4, 2], activation="tanh", dtype=np.float64, seed=0)
    result = nc.check_gradients(
        model, RNG.standard_normal((5, 3)), RNG.random((5, 2)), ["half_squared_error"], loss_weights=[scale]
    )
    assert all(block.relative_error < 1e-9 for block in result.blocks)


def test_gradients_that_vanish_are_right():
    model = nc.mlp([3, 4, 2], activation="tanh", dtype=np.float64, seed=0)
    x = RNG.standard_normal((5, 3))
    assert nc.check_gradients(model, x, model.predict(x), "half_squared_error").ok


def test_large_inputs_take_shorter_steps():
    model = nc.mlp([3, 4, 2], activation="tanh", dtype=np.float64, seed=0)
    x = 30 * RNG.standard_normal((5, 3))
    assert nc.check_gradients(model, x, RNG.random((5, 2)), "half_squared_error").ok


def test_sample_weights_and_several_outputs():
    x = nc.Input(3)
    hidden = nc.Tanh()(nc.Dense(3, 4)(x))
    outputs = [nc.Softmax()(nc.Dense(4, 3)(hidden)), nc.Sigmoid()(nc.Dense(4, 1)(hidden))]
    model = nc.Model(x, outputs, dtype=np.float64, seed=0)
    result = nc.check_gradients(
        model,
        RNG.standard_normal((6, 3)),
        [RNG.integers(0, 3, 6), RNG.random((6, 1))],
        ["cross_entropy", "binary_cross_entropy"],
        sample_weight=RNG.random(6),
        loss_weights=[1.0, 0.3],
    )
    assert result.ok


def test_frozen_layers_are_left_out_and_entries_can_be_few():
    model = nc.Sequential(
        nc.Dense(3, 40, trainable=False), nc.Tanh(), nc.Dense(40, 2), dtype=np.float64, seed=0
    )
    x, y = RNG.standard_normal((5, 3)), RNG.random((5, 2))
    result = nc.check_gradients(model, x, y, "mean_squared_error", max_entries=7)
    assert [(block.name, len(block.entries)) for block in result.blocks] == [("2.weight", 7), ("2.bias", 2)]


def test_it_needs_float64():
    with pytest.raises(
        ValueError, match=r"model must be float64, such as model.copy\(dtype='float64'\); got float32"
    ):
        nc.check_gradients(nc.mlp([3, 2]), [[1, 2, 3]], [[0, 0]], "half_squared_error")
