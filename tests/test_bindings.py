"""nncore._core: configuration, random numbers, the store, graphs and optimizers."""

import gc
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import DTypeLike

from nncore import _core
from small_networks import (
    DTYPES,
    chain,
)

# Configuration, names and random numbers ---------------------------------------------------------------


def test_show_config() -> None:
    config = _core.show_config()
    assert config["version"] == _core.__version__
    assert config["instruction_set"] in config["instruction_sets_supported"]
    assert set(config["instruction_sets_supported"]) <= set(config["instruction_sets_built"])
    assert config["num_threads"] == _core.num_threads()
    assert config["thread_backend"] in ("pool", "openmp", "none")
    assert config["compiler"]


def test_tables_of_names() -> None:
    for family, suffix in (("activations", "_backward"), ("losses", "_and_gradient")):
        for name in (entry["name"] for entry in _core.entries[family]):
            for function in (name, name + suffix):
                assert "docs/math.md" in getattr(_core, function).__doc__
    with pytest.raises(ValueError, match="did you mean 'glorot_uniform'"):
        _core.Segment("w", (2, 2), initializer="glorot_unifrom")
    with pytest.raises(ValueError, match="did you mean 'adamw'"):
        _core.Optimizer("adamww", learning_rate=0.1)
    with pytest.raises(ValueError, match=r"node 'a' \(tahn\): kind must be one of .*tanh"):
        _core.Node.make("tahn", "a", [0])


def test_random_numbers() -> None:
    # The known answer of the authors' test suite (Random123) for a zero counter and a zero key.
    assert _core.philox((0, 0, 0, 0), (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    assert sorted(_core.shuffled_rows(100, 1, 2)) == list(range(100))
    assert _core.shuffled_rows(0, 1, 2).shape == (0,)
    with pytest.raises(ValueError, match="count"):
        _core.shuffled_rows(-1, 1, 2)
    for dtype in DTYPES:
        out = np.full(1000, 7.0, dtype)
        _core.fill_uniform(out, -2.0, 3.0, seed=1, index=2)
        assert np.all((out >= -2.0) & (out < 3.0))
        assert np.unique(out).size > 900
    for wrong, error in ((np.zeros(3, int), TypeError), (np.zeros((3, 3)), ValueError)):
        with pytest.raises(error, match="out"):
            _core.fill_normal(wrong, 0.0, 1.0, 0, 0)


# The store and its views -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_views_share_the_store(dtype: DTypeLike) -> None:
    model = chain([3, 2], dtype)
    weight, bias = model.store.value(0), model.store.value(1)
    size = np.dtype(dtype).itemsize
    assert weight.shape == (2, 3)
    assert weight.strides == (size, 2 * size)
    assert bias.shape == (2,)
    values = model.store.values
    assert values.shape == (8,)
    assert weight.flags.writeable
    assert values.flags.writeable
    x = np.array([[1.0, 10.0, 100.0]], dtype)
    weight[...] = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    bias[...] = [0.5, -0.5]
    assert values.tolist() == [1.0, 4.0, 2.0, 5.0, 3.0, 6.0, 0.5, -0.5]
    assert model.network.predict(x).tolist() == [[321.5, 653.5]]
    values[:6] = 0.0  # through a view taken before the last call
    assert model.network.predict(x).tolist() == [[0.5, -0.5]]
    model.store.gradient(0)[1, 2] = 9.0
    assert model.store.gradients[5] == 9.0


def test_views_keep_the_store_alive() -> None:
    store = _core.Parameters_float64(
        [_core.Segment("w", (300, 400), initializer="constant", initializer_parameters={"value": 2.5})]
    )
    store.initialize(0)
    views = [store.values, store.value(0), store.value(0)[3:5].T]
    state = _core.OptimizerState_float64(_core.Optimizer("adam"), store)
    moment = state.slots["first_moment"]
    del store, state
    gc.collect()
    _ = [np.full(300 * 400, np.nan) for _ in range(4)]  # would reuse the memory of a freed store
    assert all(np.all(view == 2.5) for view in views)
    assert not np.any(moment)


def test_state_segments() -> None:
    store = _core.Parameters_float32(
        [_core.Segment("w", (2,))], [_core.Segment("mean", (2, 3)), _core.Segment("variance", (3,))]
    )
    store.state[:] = np.arange(9)
    assert store.state_value(0).tolist() == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]
    assert store.state_value(1).tolist() == [6.0, 7.0, 8.0]
    assert [segment.name for segment in store.state_segments] == ["mean", "variance"]
    assert store.state_segments[0].shape == (2, 3)
    for wrong in (-1, 2):
        with pytest.raises(ValueError, match="index"):
            store.state_value(wrong)


def test_segments_and_settings() -> None:
    for shape in ((), (2, 3, 4, 5), (0,), (2, 0), (-1, 2)):
        with pytest.raises(ValueError, match="shape of segment 'w'"):
            _core.Parameters_float32([_core.Segment("w", shape)])
    store = _core.Parameters_float32([_core.Segment("w", (2, 3)), _core.Segment("b", (2,))])
    store.set_trainable(1, False)
    store.set_learning_rate_multiplier(1, 0.5)
    store.set_weight_decay_multiplier(0, 0.25)
    weight, bias = store.segments
    assert (weight.trainable, weight.learning_rate_multiplier, weight.weight_decay_multiplier) == (
        True,
        1.0,
        0.25,
    )
    assert (bias.trainable, bias.learning_rate_multiplier, bias.weight_decay_multiplier) == (False, 0.5, 0.0)
    for method, value in (("set_trainable", True), ("set_weight_decay_multiplier", 1.0), ("value", None)):
        for wrong in (-1, 2):
            with pytest.raises(ValueError, match=rf"index must be in \[0, 2\); got {wrong}$"):
                getattr(store, method)(*((wrong,) if value is None else (wrong, value)))


def test_copy_from_and_soft_update() -> None:
    first, second, other = chain([3, 2]), chain([3, 2]), chain([3, 4])
    first.store.values[:], second.store.values[:] = 1.0, 3.0
    first.store.soft_update(second.store, 0.25)
    assert np.all(first.store.values == 1.5)
    first.store.copy_from(second.store)
    assert np.all(first.store.values == 3.0)
    first.store.copy_from(first.store)
    first.store.soft_update(first.store, 0.5)
    assert np.all(first.store.values == 3.0)
    for method, extra in (("copy_from", ()), ("soft_update", (0.5,))):
        with pytest.raises(ValueError, match="shape of other"):
            getattr(first.store, method)(other.store, *extra)
    assert np.all(first.store.values == 3.0)


@pytest.mark.parametrize(
    ("make", "kind", "allowed"),
    [
        (_core.Optimizer, "adam", "one of learning_rate, beta1"),
        (_core.Loss, "huber", "one of delta"),
        (_core.Loss, "mean_squared_error", "none"),
        (_core.check_activation, "leaky_relu", "one of negative_slope"),
        (_core.check_activation, "relu", "none"),
        (_core.check_initializer, "constant", "one of value"),
        (_core.check_initializer, "zeros", "none"),
    ],
)
def test_unknown_hyperparameters_are_refused(make: Callable[..., object], kind: str, allowed: str) -> None:
    with pytest.raises(TypeError, match=f"a hyperparameter of {kind} must be {allowed}.*; got 'slope'"):
        make(kind, slope=0.5)


def test_optimizer_and_state() -> None:
    optimizer = _core.Optimizer("sgd", learning_rate=0.5)
    optimizer.learning_rate = 0.25
    with pytest.raises(ValueError, match="learning_rate"):
        optimizer.learning_rate = float("nan")
    assert optimizer.learning_rate == 0.25
    store = chain([3, 2]).store
    with pytest.raises(
        TypeError, match=r"hyperparameter of sgd must be one of learning_rate, momentum.*'beta1'"
    ):
        _core.Optimizer("sgd", beta1=0.5)
    with pytest.raises(TypeError, match="learning_rate must be a number; got '1e-3'"):
        optimizer.learning_rate = "1e-3"  # type: ignore[assignment]
    optimizer.set("weight_decay", 0.5)
    assert (optimizer.kind, optimizer.settings["weight_decay"]) == ("sgd", 0.5)
    state = _core.OptimizerState_float32(_core.Optimizer("adam"), store)
    assert {name: view.shape for name, view in state.slots.items()} == {
        "first_moment": (8,),
        "second_moment": (8,),
    }
    state.steps = 5
    with pytest.raises(ValueError, match="steps"):
        state.steps = -1
    assert state.steps == 5
