"""Models: construction, names, stores, computation and copies."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import nncore as nc

RNG = np.random.default_rng(0)


def diamond(**options):
    x = nc.Input(3)
    left, right = nc.Tanh()(nc.Dense(3, 4)(x)), nc.Sigmoid()(nc.Dense(3, 4)(x))
    return nc.Model(x, nc.Dense(4, 2)(left + right), **options)


def test_sequential_is_the_same_as_mlp():
    written = nc.Sequential(nc.Dense(4, 5), nc.ReLU(), nc.Dense(5, 3), nc.Softmax(), seed=7)
    short = nc.mlp([4, 5, 3], activation="relu", output="softmax", seed=7)
    assert np.array_equal(written.parameters, short.parameters)
    assert [type(layer) for layer in written] == [type(layer) for layer in short]
    x = RNG.standard_normal((6, 4))
    assert np.array_equal(written.predict(x), short.predict(x))


def test_sequential_takes_a_list_too():
    assert len(nc.Sequential([nc.Dense(2, 2), nc.Tanh()])) == 2


def test_names_are_numbers_as_in_torch_and_users_names_win():
    model = nc.Sequential(nc.Dense(2, 2), nc.Tanh(), nc.Dense(2, 2, name="head"))
    assert model.layer_names == ["0", "1", "head"]
    assert list(model.named_parameters()) == ["0.weight", "0.bias", "head.weight", "head.bias"]
    assert model["head"] is model[2] is model[-1]
    assert list(model) == list(model.layers)
    assert len(model) == 3


def test_a_user_may_take_a_number():
    model = nc.Sequential(nc.Dense(2, 2), nc.Dense(2, 2, name="0"))
    assert model.layer_names == ["0_2", "0"]


def test_a_layer_used_twice_is_one_set_of_parameters():
    shared = nc.Dense(2, 2)
    model = nc.Sequential(shared, nc.Tanh(), shared, nc.Dense(2, 1), dtype=np.float64, seed=0)
    assert model.layer_names == ["0", "1", "0", "3"]
    assert model.parameters.size == 6 + 3
    assert nc.check_gradients(model, RNG.standard_normal((5, 2)), RNG.random((5, 1)), "half_squared_error").ok


def test_a_slice_shares_parameters():
    model = nc.mlp([4, 3, 4], activation="tanh", seed=0)
    encoder = model[:2]
    assert encoder.store is model.store
    x = RNG.standard_normal((2, 4))
    before = encoder.predict(x)
    model[0].weight += 1
    assert not np.array_equal(encoder.predict(x), before)


def test_what_one_model_learns_the_others_know():
    trunk, policy, value = nc.Dense(3, 4), nc.Dense(4, 2), nc.Dense(4, 1)
    x = nc.Input(3)
    hidden = nc.Tanh()(trunk(x))
    both = nc.Model(x, [policy(hidden), value(hidden)], seed=0)
    actor = nc.Sequential(trunk, nc.Tanh(), policy)
    assert actor.seed == both.seed
    before = both.predict([1.0, 2.0, 3.0])
    nc.Trainer(actor, "half_squared_error", nc.SGD(0.1)).step([1.0, 2.0, 3.0], [[1.0, -1.0]])
    after = both.predict([1.0, 2.0, 3.0])
    assert not np.array_equal(before[0], after[0])
    assert not np.array_equal(before[1], after[1])  # through the trunk
    assert np.array_equal(actor.predict([1.0, 2.0, 3.0]), after[0])


def test_a_step_changes_only_layers_of_its_own_graph():
    first, second, other = nc.Dense(2, 2), nc.Dense(2, 1), nc.Dense(2, 1, weight_initializer=nc.Constant(1))
    x = nc.Input(2)
    hidden = first(x)
    nc.Model(x, [second(hidden), other(hidden)], seed=0)
    part = nc.Sequential(first, second)
    nc.Trainer(part, "half_squared_error", nc.AdamW(0.1)).step([1.0, 1.0], [[5.0]])
    assert (other.weight == 1).all()


def test_layers_of_different_stores_do_not_mix():
    old, new = nc.Dense(2, 2), nc.Dense(2, 2)
    nc.Sequential(old)
    with pytest.raises(ValueError, match="First build the largest model"):
        nc.Sequential(old, new)
    assert new.store is None  # the failed build bound nothing


def test_a_store_keeps_its_dtype_and_seed():
    layer = nc.Dense(2, 2)
    nc.Sequential(layer, dtype=np.float64, seed=5)
    assert nc.Sequential(layer, nc.Tanh(), dtype="float64", seed=5).dtype == np.float64
    with pytest.raises(ValueError, match="dtype must be float64, like the layers' store; got float32"):
        nc.Sequential(layer, dtype=np.float32)
    with pytest.raises(ValueError, match="seed must be 5"):
        nc.Sequential(layer, seed=6)


def test_several_inputs_and_outputs_by_place_or_name():
    a, b = nc.Input(2, name="a"), nc.Input(3, name="b")
    total = nc.Dense(2, 1, name="total")(nc.Dense(3, 2)(b) + a)
    model = nc.Model([a, b], [total, nc.Tanh(name="squashed")(total)], seed=0)
    assert model.input_names == ["a", "b"]
    assert model.output_names == ["total", "squashed"]
    xa, xb = RNG.standard_normal((4, 2)), RNG.standard_normal((4, 3))
    by_place, by_name = model.predict([xa, xb]), model.predict({"b": xb, "a": xa})
    assert all(np.array_equal(p, q) for p, q in zip(by_place, by_name, strict=True))
    model.forward((xa, xb))
    grad_a, grad_b = model.backward({"total": np.ones((4, 1)), "squashed": np.zeros((4, 1))})
    assert grad_a.shape == (4, 2)
    assert grad_b.shape == (4, 3)


def test_predict_into_out():
    model = nc.mlp([3, 2], seed=0)
    out = np.empty((4, 2), np.float32)
    assert model.predict(np.ones((4, 3)), out=out) is out
    assert np.array_equal(out, model.predict(np.ones((4, 3))))


def test_forward_backward_step_are_a_training_step():
    pieces, whole = (nc.mlp([3, 4, 2], activation="tanh", dtype=np.float64, seed=0) for _ in range(2))
    x, y = RNG.standard_normal((5, 3)), RNG.standard_normal((5, 2))
    optimizers = nc.Adam(0.1), nc.Adam(0.1)
    trainer = nc.Trainer(whole, "half_squared_error", optimizers[1])
    for _ in range(3):
        output = pieces.forward(x)
        pieces.backward((output - y) / 5)
        optimizers[0].step(pieces)
        trainer.step(x, y)
    np.testing.assert_allclose(pieces.parameters, whole.parameters, rtol=1e-12)


def test_loss_and_gradients_is_the_same_step_to_the_bit():
    pieces, whole = diamond(seed=0), diamond(seed=0)
    x, y = RNG.standard_normal((9, 3)), RNG.integers(0, 2, 9)
    optimizer, trainer = nc.SGD(0.5), nc.Trainer(whole, "softmax_cross_entropy", nc.SGD(0.5))
    for _ in range(4):
        loss = pieces.loss_and_gradients(x, y, nc.SoftmaxCrossEntropy())
        optimizer.step(pieces)
        assert loss == trainer.step(x, y)
    assert np.array_equal(pieces.parameters, whole.parameters)


def test_accumulated_gradients_add_up():
    model = diamond(dtype=np.float64, seed=0)
    x, y = RNG.standard_normal((6, 3)), RNG.standard_normal((6, 2))
    model.loss_and_gradients(x, y, "half_squared_error")
    once = model.gradients.copy()
    model.loss_and_gradients(x, y, "half_squared_error", accumulate=True)
    assert np.array_equal(model.gradients, 2 * once)


def test_a_python_loss_gives_the_gradients_of_its_formula():
    model = diamond(dtype=np.float64, seed=0)
    x, y = RNG.standard_normal((6, 3)), RNG.standard_normal((6, 2))

    def half_squared(output, target):
        return 0.5 * float(((output - target) ** 2).sum()) / len(target), (output - target) / len(target)

    loss = model.loss_and_gradients(x, y, half_squared)
    gradients = model.gradients.copy()
    assert loss == pytest.approx(model.loss_and_gradients(x, y, "half_squared_error"), rel=1e-14)
    np.testing.assert_allclose(gradients, model.gradients, rtol=1e-12, atol=1e-15)


def test_a_copy_is_independent():
    model = diamond(seed=4)
    twin = model.copy()
    assert np.array_equal(twin.parameters, model.parameters)
    assert twin.seed == 4
    assert twin.store is not model.store
    twin.parameters[:] = 0
    assert model.parameters.any()
    twin.copy_from(model)
    assert np.array_equal(twin.parameters, model.parameters)


def test_a_copy_in_the_other_precision():
    model = nc.mlp([3, 4, 2], seed=0)
    twin = model.copy(dtype=np.float64)
    assert twin.dtype == np.float64
    assert np.array_equal(twin.parameters, model.parameters.astype(np.float64))
    twin.parameters[:] = 0.5
    model.copy_from(twin)
    assert (model.parameters == np.float32(0.5)).all()


def test_a_copy_keeps_its_kind_and_what_is_frozen():
    model = nc.Sequential(nc.Dense(2, 3, trainable=False, name="in"), nc.Tanh(), nc.Dense(3, 2), seed=0)
    twin = model.copy()
    assert isinstance(twin, nc.Sequential)
    assert twin.layer_names == model.layer_names
    assert [layer.trainable for layer in twin] == [False, True, True]


def test_soft_update_moves_a_fraction_of_the_way():
    model, target = nc.mlp([3, 2], dtype=np.float64, seed=1), nc.mlp([3, 2], dtype=np.float64, seed=2)
    before = target.parameters.copy()
    target.soft_update(model, 0.25)
    np.testing.assert_allclose(
        target.parameters, before + 0.25 * (model.parameters - before), rtol=1e-15, atol=1e-17
    )
    target.soft_update(model, 1.0)
    np.testing.assert_allclose(target.parameters, model.parameters, rtol=1e-15)


def test_a_copy_of_a_part_pairs_arrays_by_name():
    x = RNG.standard_normal((4, 2))
    first, second = nc.Dense(2, 2), nc.Dense(2, 2)
    part = nc.Sequential(first, second, first, seed=0)[1:]  # its layers have another order than in the store
    twin = part.copy()
    assert np.array_equal(twin.predict(x), part.predict(x))
    twin.parameters[:] = 0
    twin.copy_from(part)
    assert np.array_equal(twin.predict(x), part.predict(x))
    twin.parameters[:] = 0
    twin.soft_update(part, 1.0)
    assert np.array_equal(twin.predict(x), part.predict(x))

    encoder = nc.Dense(2, 3)
    decoder = nc.Sequential(encoder, nc.Tanh(), encoder.transposed(), seed=0)[2:]
    code = RNG.standard_normal((4, 3))
    assert np.array_equal(decoder.copy().predict(code), decoder.predict(code))


def test_models_of_other_names_are_paired_layer_by_layer():
    def line(*names):
        return nc.Sequential([nc.Dense(2, 2, name=name) for name in names], seed=len(names[0]))

    x = RNG.standard_normal((4, 2))
    model, swapped, renamed = line("a", "b"), line("b", "a"), line("one", "two")
    swapped.copy_from(model)
    assert np.array_equal(swapped["a"].weight, model["a"].weight)
    assert np.array_equal(swapped["b"].weight, model["b"].weight)
    renamed.copy_from(model)
    assert np.array_equal(renamed.predict(x), model.predict(x))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_pickles_and_deep_copies_are_models_of_their_own(duplicate):
    model = diamond(seed=4)
    model.metadata = {"classes": ["a", "b"]}
    twin = duplicate(model)
    assert np.array_equal(twin.parameters, model.parameters)
    assert twin.store is not model.store
    assert (twin.seed, twin.dtype, twin.metadata) == (model.seed, model.dtype, model.metadata)
    assert twin.layer_names == model.layer_names


def test_copies_of_a_part_leave_the_rest_of_a_store_alone():
    first, second, rest = nc.Dense(2, 2), nc.Dense(2, 2), nc.Dense(2, 3)
    x = nc.Input(2)
    hidden = first(x)
    nc.Model(x, [second(hidden), rest(hidden)], seed=0)
    part, before = nc.Sequential(first, second), rest.weight.copy()
    twin = part.copy()
    assert twin.parameters.size == 12
    twin.parameters[:] = 1
    blended = 0.5 * (1 + first.weight.astype(np.float64))
    part.soft_update(twin, 0.5)
    np.testing.assert_allclose(first.weight, blended, rtol=2e-7)
    part.copy_from(twin)
    assert (second.weight == 1).all()
    assert np.array_equal(rest.weight, before)


def test_models_that_differ_cannot_be_copied():
    model = nc.mlp([3, 2])
    with pytest.raises(
        ValueError, match=r"other's 0.weight must have the shape of 0.weight, \(2, 3\); got \(2, 4\)"
    ):
        model.copy_from(nc.mlp([4, 2]))
    with pytest.raises(ValueError, match="other must have 2 arrays; got 4"):
        model.copy_from(nc.mlp([3, 2, 2]))
    with pytest.raises(ValueError, match="other must be float32, like this model; got float64"):
        model.soft_update(nc.mlp([3, 2], dtype="float64"), 0.5)


def test_print_shows_layers_shapes_and_counts():
    shared = nc.Dense(4, 4)
    text = str(nc.Sequential(shared, nc.Tanh(), shared, nc.Dense(4, 2, trainable=False), seed=11))
    assert text.startswith("Sequential: 30 parameters, float32, seed 11\n")
    rows = [line.split() for line in text.splitlines()]
    assert ["0", "Dense(4,", "4)", "input", "(B,", "4)", "20"] in rows
    assert ["0_2", "Dense(4,", "4)", "1", "(B,", "4)", "shared"] in rows
    assert rows[-1][-2:] == ["10", "frozen"]
    assert "in a store of 30" in str(nc.Sequential(shared))


def test_one_sample_may_be_a_vector():
    model = nc.mlp([3, 2], seed=0)
    assert np.array_equal(model.predict([1, 2, 3]), model.predict([[1, 2, 3]]))


def test_no_rows_are_no_rows():
    assert nc.mlp([3, 2]).predict(np.empty((0, 3))).shape == (0, 2)


def test_a_model_goes_when_it_is_not_needed():
    model = nc.mlp([3, 2])
    optimizer = nc.Adam()
    optimizer.step(model)
    store = weakref.ref(model.store)
    del model
    gc.collect()
    assert store() is None  # the optimizer's state does not keep it alive
