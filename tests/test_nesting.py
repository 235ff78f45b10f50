"""Models as layers: names, shared parameters, gradients, files and merged stores."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import nncore as nc

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((7, 4)), RNG.standard_normal((7, 2))


def encoder(**options):
    return nc.Sequential(nc.Dense(4, 5), nc.Tanh(), nc.Dense(5, 3), **options)


def nested(**options):
    return nc.Sequential(encoder(name="encoder"), nc.Tanh(), nc.Dense(3, 2), **options)


def heads(x, **options):
    """Applies a model with two outputs to a value."""
    z = nc.Input(4)
    hidden = nc.Tanh()(nc.Dense(4, 3)(z))
    outputs = [nc.Dense(3, 2)(hidden), nc.Dense(3, 1, name="value")(hidden)]
    return nc.Model(z, outputs, name="heads", **options)(x)


def two_heads(**options):
    x = nc.Input(4)
    policy, value = heads(x, **options)
    return nc.Model(x, [nc.Softmax(name="probabilities")(policy), value])


def twice(**options):
    """A model that uses another one twice and joins the results."""
    shared = encoder(name="shared")
    a, b = nc.Input(4, name="a"), nc.Input(4, name="b")
    return nc.Model([a, b], nc.Dense(3, 1)(shared(a) - shared(b)), **options)


def deep(**options):
    inner = nc.Sequential(nc.Dense(4, 4), nc.ReLU(), name="inner")
    return nc.Sequential(nc.Sequential(inner, nc.Dense(4, 3), name="middle"), nc.Dense(3, 2), **options)


def sharing(**options):
    """Two models with a common trunk, built after the model that holds all layers."""
    x = nc.Input(4)
    trunk, policy, value = nc.Dense(4, 3, name="trunk"), nc.Dense(3, 2), nc.Dense(3, 1)
    hidden = trunk(x)
    nc.Model(x, [policy(hidden), value(hidden)], **options)
    z = nc.Input(4)
    actor = nc.Sequential(trunk, nc.Tanh(), policy, name="actor")
    critic = nc.Sequential(trunk, nc.ReLU(), value, name="critic")
    return nc.Model(z, [actor(z), critic(z)])


MODELS = {"line": nested, "outputs": two_heads, "twice": twice, "deep": deep, "sharing": sharing}


def inputs_of(model):
    return [X[:, :width] for width in model.input_widths] if len(model.inputs) > 1 else X


def outputs(model):
    answer = model.predict(inputs_of(model))
    return answer if isinstance(answer, list) else [answer]


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(outputs(a), outputs(b), strict=True))


# Names and places -----------------------------------------------------------------------------------------


def test_names_are_those_of_torch():
    model = nested()
    assert model.layer_names == ["encoder", "1", "2"]
    assert list(model.named_parameters()) == [
        "encoder.0.weight",
        "encoder.0.bias",
        "encoder.2.weight",
        "encoder.2.bias",
        "2.weight",
        "2.bias",
    ]
    assert isinstance(model["encoder"], nc.Sequential)
    assert model["encoder"] is model[0]
    assert list(model[0].named_parameters()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert next(iter(deep().named_parameters())) == "middle.inner.0.weight"
    unnamed = nc.Sequential(encoder(), nc.Dense(3, 2))
    assert next(iter(unnamed.named_parameters())) == "0.0.weight"


def test_equal_names_within_different_models_do_not_meet():
    def part(name):
        return nc.Sequential(nc.Dense(4, 4, name="same"), name=name)

    model = nc.Sequential(part("a"), part("b"))
    assert list(model.named_parameters()) == ["a.same.weight", "a.same.bias", "b.same.weight", "b.same.bias"]
    with pytest.raises(ValueError, match="names of layers must be unique in a model; got two named 'a'"):
        nc.Sequential(part("a"), part("a"))


def test_print_shows_the_layers_within():
    rows = [line.split() for line in str(twice(seed=3)).splitlines()]
    assert ["shared.0", "Dense(4,", "5)", "a", "(B,", "5)", "25"] in rows
    assert ["shared.0_2", "Dense(4,", "5)", "b", "(B,", "5)", "shared"] in rows


# One set of parameters ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_nested_model_has_the_bits_of_a_flat_one(dtype):
    model = (
        nested(dtype=None)
        if dtype == np.float32
        else nc.Sequential(encoder(name="encoder", dtype=dtype), nc.Tanh(), nc.Dense(3, 2), dtype=dtype)
    )
    flat = nc.Sequential(nc.Dense(4, 5), nc.Tanh(), nc.Dense(5, 3), nc.Tanh(), nc.Dense(3, 2), dtype=dtype)
    flat.copy_from(model)
    assert model.dtype == dtype
    assert np.array_equal(model.parameters, flat.parameters)
    assert np.array_equal(model.predict(X), flat.predict(X))
    for one in (model, flat):
        one.loss_and_gradients(X, Y, "mean_squared_error")
    assert model.gradients.any()
    assert np.array_equal(model.gradients, flat.gradients)
    assert np.array_equal(model[0][0].grad_weight, flat[0].grad_weight)
    for one in (model, flat):
        nc.Trainer(one, "mean_squared_error", nc.Adam(0.01), seed=1).fit(X, Y, 5, 3, progress=False)
    assert np.array_equal(model.parameters, flat.parameters)


@pytest.mark.parametrize("name", ["twice", "deep"])
def test_gradients_are_those_of_differences(name):
    made = MODELS[name]().copy(dtype=np.float64)
    y = RNG.standard_normal((7, made.outputs[0].features))
    assert nc.check_gradients(made, inputs_of(made), y, "half_squared_error").ok


def test_parameters_are_shared_and_stay_as_they_were():
    part = encoder(seed=5)
    output = part.predict(X)
    model = nc.Sequential(part, nc.Dense(3, 2), seed=6)
    assert model.seed == 6
    assert part.store is model.store
    assert np.array_equal(part.predict(X), output)
    nc.Trainer(model, "mean_squared_error", nc.SGD(0.1)).step(X, Y)
    assert not np.array_equal(part.predict(X), output)
    part[0].weight[:] = 0
    assert not model["0"][0].weight.any()


def test_all_models_of_a_store_move_with_it():
    whole = nc.Sequential(nc.Dense(4, 3), nc.Tanh(), nc.Dense(3, 1), seed=0)
    part, output = whole[:2], whole.predict(X)
    model = nc.Sequential(part, nc.Dense(3, 2))
    assert whole.store is part.store is model.store
    assert np.array_equal(whole.predict(X), output)
    assert list(whole.named_parameters()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert sum(a.size for a in model.named_parameters().values()) == 15 + 8
    whole[0].weight[:] = 0
    assert not model[0][0].weight.any()
    assert "in a store of" in str(model)


def test_two_models_become_one():
    first, second = encoder(seed=1), nc.Sequential(nc.Dense(3, 4), nc.Tanh(), seed=2)
    expected = second.predict(first.predict(X))
    model = nc.Sequential(first, second)
    assert np.array_equal(model.predict(X), expected)
    assert first.store is second.store is model.store
    part = nc.Sequential(first[2], second[0])
    assert np.array_equal(part[0].weight, first[2].weight)


def test_a_part_of_a_nested_model_is_a_model():
    model = nested(seed=0)
    part = model[:1]
    assert np.array_equal(part.predict(X), model[0].predict(X))
    assert next(iter(part.named_parameters())) == "encoder.0.weight"
    assert list(model[0][2:].named_parameters()) == ["2.weight", "2.bias"]


def test_outputs_that_nobody_uses_are_left_out():
    x = nc.Input(4)
    _, value = heads(x)
    model = nc.Model(x, value)
    assert [node.name for node in model.graph.nodes] == ["input", "heads.0", "heads.1", "heads.value"]
    assert model.predict(X).shape == (7, 1)
    assert "heads.2.weight" in model.named_parameters()  # still a part of the model
    trainer = nc.Trainer(model, "mean_squared_error", nc.SGD(0.1))
    unused = model["heads"][2].weight.copy()
    trainer.step(X, Y[:, :1])
    assert np.array_equal(model["heads"][2].weight, unused)
    assert same(model.copy(), model)


def test_the_seed_draws_what_is_new():
    first, second = (nc.Sequential(encoder(seed=1), nc.Dense(3, 2), seed=2) for _ in range(2))
    assert np.array_equal(first.parameters, second.parameters)
    other = nc.Sequential(encoder(seed=1), nc.Dense(3, 2), seed=3)
    assert np.array_equal(first[0][0].weight, other[0][0].weight)
    assert not np.array_equal(first[1].weight, other[1].weight)


def test_freezing_a_model_freezes_its_layers():
    model = nested(seed=0)
    model["encoder"].trainable = False
    assert not model["encoder"].trainable
    assert not model.trainable
    before = model["encoder"][0].weight.copy(), model[2].weight.copy()
    trainer = nc.Trainer(model, "mean_squared_error", nc.SGD(0.1))
    trainer.step(X, Y)
    assert np.array_equal(model["encoder"][0].weight, before[0])
    assert not np.array_equal(model[2].weight, before[1])
    assert [layer.trainable for layer in model.copy()[0]] == [False, True, False]
    model.trainable = True
    trainer.step(X, Y)
    assert not np.array_equal(model["encoder"][0].weight, before[0])


# Files and copies -----------------------------------------------------------------------------------------


def saved(model, path):
    model.save(path)
    return nc.load(path)


DUPLICATES = {
    "file": saved,
    "copy": lambda model, _: model.copy(),
    "deep copy": lambda model, _: copy.deepcopy(model),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
}


@pytest.mark.parametrize("way", DUPLICATES)
@pytest.mark.parametrize("name", MODELS)
def test_duplicates_have_the_same_nested_models(name, way, tmp_path):
    model = MODELS[name](seed=4)
    twin = DUPLICATES[way](model, tmp_path / "model.safetensors")
    assert same(twin, model)
    assert twin.store is not model.store
    assert list(twin.named_parameters()) == list(model.named_parameters())
    assert twin.layer_names == model.layer_names
    assert [type(layer) for layer in twin] == [type(layer) for layer in model]
    assert str(twin).partition("\n")[2] == str(model).partition("\n")[2]
    for mine, theirs in zip(model, twin, strict=True):
        if isinstance(mine, nc.Model):
            assert theirs.store is twin.store
            assert list(theirs.named_parameters()) == list(mine.named_parameters())
            assert np.array_equal(theirs.predict(X), mine.predict(X)) or len(mine.outputs) > 1


def test_saving_twice_gives_equal_bytes(tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    for make in MODELS.values():
        make(seed=4).save(first)
        nc.load(first).save(second)
        assert first.read_bytes() == second.read_bytes()


def test_layers_that_nested_models_share_stay_shared(tmp_path):
    twin = saved(sharing(seed=0), tmp_path / "model.safetensors")
    assert twin["actor"][0] is twin["critic"][0]
    assert list(twin.named_parameters())[:2] == ["actor.trunk.weight", "actor.trunk.bias"]
    assert twin.parameters.size == 15 + 8 + 4


def test_a_pretrained_part_of_a_file(tmp_path):
    encoder(seed=1).save(tmp_path / "encoder.safetensors")
    part = nc.load(tmp_path / "encoder.safetensors")
    expected = part.predict(X)
    model = nc.Sequential(part, nc.Dense(3, 2))
    assert np.array_equal(model[0].predict(X), expected)


def test_a_checkpoint_of_a_nested_model_goes_on_with_equal_bits(tmp_path):
    path = tmp_path / "checkpoint.safetensors"

    def trainer(seed):
        return nc.Trainer(nested(seed=seed), "mean_squared_error", nc.Adam(0.01))

    first = trainer(0)
    first.fit(X, Y, 2, 3, progress=False)
    first.save(path)
    first.fit(X, Y, 2, 3, progress=False)
    second = trainer(1)
    second.restore(path)
    second.fit(X, Y, 2, 3, progress=False)
    assert np.array_equal(first.model.parameters, second.model.parameters)


# Rejected models ------------------------------------------------------------------------------------------


def test_trainers_of_before_are_refused():
    part = encoder(seed=0)
    trainer = nc.Trainer(part, "mean_squared_error")
    trainer.step(X, Y[:, [0, 1, 1]])
    nc.Sequential(part, nc.Dense(3, 2))
    for call in (trainer.step, trainer.evaluate, lambda x, y: trainer.fit(x, y, progress=False)):
        with pytest.raises(RuntimeError, match="create a new Trainer"):
            call(X, Y[:, [0, 1, 1]])
    nc.Trainer(part, "mean_squared_error").step(X, Y[:, [0, 1, 1]])


WRONG = {
    "width": (
        lambda: encoder()(nc.Input(3)),
        ValueError,
        r"inputs of Sequential must have \[4\] features; got \[3\]",
    ),
    "too many": (
        lambda: encoder()(nc.Input(4), nc.Input(4)),
        ValueError,
        r"have \[4\] features; got \[4, 4\]",
    ),
    "none": (lambda: encoder()(), ValueError, r"have \[4\] features; got \[\]"),
    "an array": (lambda: encoder()(X), TypeError, "build a model and call predict"),
    "dtypes": (
        lambda: nc.Sequential(encoder(), nc.Sequential(nc.Dense(3, 2), dtype=np.float64)),
        ValueError,
        "dtype must be float64, like the layers' store; got float32",
    ),
    "another dtype": (
        lambda: nc.Sequential(encoder(), nc.Dense(3, 2), dtype=np.float64),
        ValueError,
        "dtype must be float32",
    ),
    "name": (lambda: encoder(name="a.b"), ValueError, "letters, digits, _ and -; got 'a.b'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_nested(case):
    call, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        call()


def test_a_model_that_cannot_be_built_moves_nothing():
    part, layer = encoder(seed=0), nc.Dense(3, 2)
    store = part.store
    x, unused = nc.Input(4), nc.Input(4)
    with pytest.raises(ValueError, match="unused"):
        nc.Model([x, unused], layer(part(x)))
    assert part.store is store
    assert layer.store is None
    nc.Trainer(part, "mean_squared_error").step(X, Y[:, [0, 1, 1]])


def test_stores_in_use_do_not_move():
    part = encoder(seed=0)
    with part.store.core.changing(), pytest.raises(RuntimeError):
        nc.Sequential(part, nc.Dense(3, 2))
    nc.Sequential(part, nc.Dense(3, 2))


# Sequential's first layer, and differences ------------------------------------------------------------------


def test_a_line_may_begin_with_any_layer():
    tied = nc.Dense(3, 2)
    nc.Sequential(tied)
    assert nc.Sequential(tied.transposed(bias=False)).predict([1.0, 1.0]).shape == (1, 3)
    assert nc.Sequential(encoder()).in_features == 4
    assert nc.Sequential(nc.ReLU(), encoder()).in_features == 4
    line = nc.Sequential(nc.Softmax(), nc.Tanh(), in_features=3)
    assert line.predict(X[:, :3]).shape == (7, 3)
    assert line.copy().predict(X[:, :3]).shape == (7, 3)
    with pytest.raises(ValueError, match=r"got Softmax, Tanh: pass in_features=\.\.\. or build nc\.Model"):
        nc.Sequential(nc.Softmax(), nc.Tanh())
    with pytest.raises(ValueError, match="must be one value of 4 features; got 3"):
        nc.Sequential(nc.Dense(4, 2), in_features=3)
    with pytest.raises(ValueError, match="in_features must be at least 1; got 0"):
        nc.Sequential(nc.Tanh(), in_features=0)


def test_values_can_be_subtracted():
    a, b = nc.Input(3), nc.Input(3)
    model = nc.Model([a, b], a - b, dtype=np.float64)
    p, q = RNG.standard_normal((2, 5, 3))
    assert np.array_equal(model.predict([p, q]), p - q)
    model.forward([p, q])
    assert [g.tolist() for g in model.backward(np.ones((5, 3)))] == [[[1.0] * 3] * 5, [[-1.0] * 3] * 5]
    assert not nc.Model(a, a - a).predict(p).any()
    with pytest.raises(ValueError, match=r"inputs of Multiply\(\) must be two values; got 3"):
        nc.Multiply()(a, b, a)
    with pytest.raises(ValueError, match=r"inputs of Subtract\(\) must be two values; got 3"):
        nc.Subtract()(a, b, a)
    with pytest.raises(ValueError, match=r"inputs of Subtract\(\) must have the same width; got 3 and 2"):
        a - nc.Input(2)
    with pytest.raises(TypeError, match="unsupported operand"):
        a - 1
