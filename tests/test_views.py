"""Views of parameters: the next call sees everything written through them."""

import numpy as np
import pytest

import nncore as nc


def make():
    model = nc.mlp([5, 7, 3], activation="tanh", output="softmax", seed=0)
    random = np.random.default_rng(1)
    return model, random.standard_normal((9, 5)).astype(np.float32), random.integers(0, 3, 9)


def fresh(model):
    """A new model with the same parameters, which has computed nothing."""
    other, *_ = make()
    other.parameters[:] = model.parameters
    return other


WRITES = {
    "layer.weight": lambda model, kept, noise: model[0].weight.__setitem__(..., noise[:35].reshape(7, 5)),
    "one entry": lambda model, kept, noise: model[0].weight.__setitem__((3, 2), noise[0]),
    "layer.bias": lambda model, kept, noise: model[0].bias.__setitem__(..., noise[:7]),
    "kept weight": lambda model, kept, noise: kept["weight"].__setitem__(..., noise[:21].reshape(3, 7)),
    "kept row": lambda model, kept, noise: kept["row"].__setitem__(..., noise[:7]),
    "all parameters": lambda model, kept, noise: model.parameters.__setitem__(..., noise),
    "kept parameters": lambda model, kept, noise: kept["flat"].__iadd__(noise),
    "copy_from": lambda model, kept, noise: model.copy_from(nc.mlp([5, 7, 3], output="softmax", seed=9)),
}


@pytest.mark.parametrize("write", WRITES)
def test_the_next_call_sees_what_was_written(write):
    model, x, y = make()
    kept = {"weight": model[2].weight, "row": model[2].weight[1], "flat": model.parameters}
    trainer = nc.Trainer(model, "cross_entropy", nc.SGD(0.1))
    random = np.random.default_rng(2)
    for _ in range(3):
        noise = random.standard_normal(model.parameters.size).astype(np.float32)
        model.predict(x)
        WRITES[write](model, kept, noise)
        np.testing.assert_array_equal(model.predict(x), fresh(model).predict(x))
        np.testing.assert_array_equal(model.predict(x[:1]), fresh(model).predict(x[:1]))
        WRITES[write](model, kept, -noise)
        other = fresh(model)
        trainer.step(x, y)
        nc.Trainer(other, "cross_entropy", nc.SGD(0.1)).step(x, y)
        np.testing.assert_array_equal(model.parameters, other.parameters)


def test_views_are_views_and_outlive_the_model():
    model, x, y = make()
    weight, grad = model[0].weight, model[0].grad_weight
    assert np.shares_memory(weight, model.parameters)
    assert np.shares_memory(grad, model.gradients)
    assert weight.shape == grad.shape == (7, 5)
    assert model.parameters.size == model.gradients.size == 7 * 5 + 7 + 3 * 7 + 3
    model.loss_and_gradients(x, y, "cross_entropy")
    values, gradients = weight.copy(), grad.copy()
    del model
    np.testing.assert_array_equal(weight, values)
    np.testing.assert_array_equal(grad, gradients)
    assert gradients.any()


def test_one_sample_meets_what_is_not_finite_behind_its_zeros():
    model = nc.Sequential(nc.Dense(80, 96), seed=0)
    x = np.zeros((1, 80), np.float32)

    def predictions():
        return np.stack([model.predict(x) for _ in range(4)])  # zeros are skipped once the values are known

    assert np.isfinite(predictions()).all()
    kept = model[0].weight[:, 7]
    assert np.isfinite(predictions()).all()
    kept[3] = np.inf
    assert (np.isnan(predictions()) == (np.arange(96) == 3)).all()
    kept[3] = 1.0
    assert np.isfinite(predictions()).all()
    kept[3] = np.nan
    del kept
    assert (np.isnan(predictions()) == (np.arange(96) == 3)).all()
    model.parameters[:] = 0.5
    assert np.isfinite(predictions()).all()
    other = model.copy()
    other[0].weight[5, 6] = -np.inf
    model.copy_from(other)
    assert (np.isnan(predictions()) == (np.arange(96) == 5)).all()
