"""Layers that draw random numbers or keep state (dropout, batch normalization), and other unusual layers:
an integer embedding, a parameter without inputs, PReLU."""

from __future__ import annotations

import numpy as np
import pytest

import nncore as nc
from nncore import _core

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 4))
Y = RNG.normal(size=(7, 3))


def model_of(*layers, dtype=np.float64, seed=0):
    return nc.Sequential(*layers, dtype=dtype, seed=seed)


# Dropout ------------------------------------------------------------------------------------------------


def dropped(rows, columns, seed=0, p=0.5, step=0, dtype=np.float64):
    """Ones after dropout."""
    layer = nc.Dropout(p)
    x = nc.Input(columns)
    model = nc.Model(
        x, layer(x * nc.Parameter(columns, initializer=nc.Constant(1.0))()), dtype=dtype, seed=seed
    )
    model.store.core.random_step = step
    return model.forward(np.ones((rows, columns)), training=True)


def test_dropout_keeps_the_mean_and_drops_a_fraction_p():
    for p in (0.1, 0.5, 0.8):
        out = dropped(200, 500, p=p)
        kept = out != 0
        assert np.allclose(out[kept], 1 / (1 - p))
        assert abs(kept.mean() - (1 - p)) < 5 * np.sqrt(p * (1 - p) / out.size)


def test_dropout_is_a_function_of_seed_step_row_and_column():
    whole = dropped(9, 150)
    assert np.array_equal(whole, dropped(9, 150))
    assert np.array_equal(whole[:5], dropped(5, 150))  # for a row, whatever the batch
    assert np.array_equal(whole[:, :67], dropped(9, 67))  # for a column, whatever the width
    assert not np.array_equal(whole, dropped(9, 150, step=1))
    assert not np.array_equal(whole, dropped(9, 150, seed=1))
    assert np.array_equal(whole, dropped(9, 150, dtype=np.float32))


def test_dropout_draws_philox():
    rows, columns, seed, step, node = 3, 130, 2**40 + 7, 5, 3
    out = dropped(rows, columns, seed=seed, step=step)
    for row in range(rows):
        for column in range(columns):
            group, place = divmod(column, 64)
            word, block = divmod(place, 16)
            counter = (row, group * 16 + block | 3 << 16, step, node)
            bits = _core.philox(counter, (seed & 0xFFFFFFFF, seed >> 32))[word]
            assert (out[row, column] != 0) == (bits >= 2**31)


def test_each_pass_for_training_draws_anew_and_predictions_draw_nothing():
    model = model_of(nc.Dense(4, 64), nc.Dropout(), nc.Dense(64, 3))
    first, second = model.forward(X, training=True), model.forward(X, training=True)
    assert not np.array_equal(first, second)
    assert np.array_equal(model.predict(X), model.forward(X, training=False))
    assert model.store.core.random_step == 2


def test_gradients_pass_dropout_as_numbers_do():
    model = model_of(nc.Dense(4, 40), nc.Dropout(0.3), nc.Dense(40, 3))
    out = model.forward(X, training=True)
    model.store.core.random_step -= 1
    grad_x = model.backward(np.ones_like(out))
    h = 1e-6
    for i in range(4):
        moved = X.copy()
        moved[:, i] += h
        model.store.core.random_step = 0
        difference = (model.forward(moved, training=True) - out).sum(axis=1) / h
        assert np.allclose(grad_x[:, i], difference, atol=1e-6)


# Batch normalization ------------------------------------------------------------------------------------


def normalized(x, eps=1e-5):
    return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)


def test_batch_norm_takes_the_statistics_of_the_batch_in_training_and_running_ones_else():
    model = model_of(nc.BatchNorm(4))
    assert np.allclose(model.forward(X, training=True), normalized(X), atol=1e-12)
    layer = model[0]
    assert np.allclose(layer.running_mean, 0.1 * X.mean(axis=0))
    assert np.allclose(layer.running_var, 0.9 + 0.1 * X.var(axis=0, ddof=1))
    expected = (X - layer.running_mean) / np.sqrt(layer.running_var + 1e-5)
    assert np.allclose(model.predict(X), expected, atol=1e-12)
    assert np.array_equal(model.predict(X), model.forward(X, training=False))


@pytest.mark.parametrize("layer", [nc.BatchNorm(8), nc.BatchNorm(8, affine=False), nc.PReLU(), nc.PReLU(8)])
def test_gradients_in_training(layer):
    model = model_of(nc.Dense(4, 8), layer, nc.Dense(8, 3))
    assert nc.check_gradients(model, X, Y, "mean_squared_error", training=True).ok


def test_gradient_checks_freeze_state_and_random_numbers():
    model = model_of(nc.Dense(4, 8), nc.BatchNorm(8), nc.Dropout(0.25), nc.Dense(8, 3))
    state, step = model.store.core.state.copy(), model.store.core.random_step
    assert nc.check_gradients(model, X, Y, "mean_squared_error", training=True).ok
    assert np.array_equal(state, model.store.core.state)
    assert model.store.core.random_step == step


def squared_error(output, y):
    return float(np.mean((output - y) ** 2)), 2 * (output - y) / output.size


@pytest.mark.parametrize("loss", ["mean_squared_error", squared_error])
def test_gradients_without_training_are_those_of_predictions(loss):
    model = model_of(nc.Dense(4, 8), nc.BatchNorm(8), nc.Dropout(0.25), nc.Dense(8, 3))
    model.forward(X, training=True)
    state, step = model.store.core.state.copy(), model.store.core.random_step
    value = model.loss_and_gradients(X, Y, loss, training=False)
    assert np.isclose(value, np.mean((model.predict(X) - Y) ** 2), rtol=1e-14)
    assert nc.check_gradients(model, X, Y, loss).ok
    assert nc.check_gradients(model, X, Y, loss, training=True).ok
    assert np.array_equal(state, model.store.core.state)
    assert model.store.core.random_step == step
    model.loss_and_gradients(X, Y, loss)
    assert not np.array_equal(state, model.store.core.state)
    assert model.store.core.random_step == step + 1


def test_two_uses_of_a_layer_move_its_statistics_in_the_order_of_the_nodes():
    layer = nc.BatchNorm(4)
    x = nc.Input(4)
    model = nc.Model(x, layer(layer(x)), dtype=np.float64)
    model.forward(X, training=True)
    mean, second = 0.1 * X.mean(axis=0), normalized(X)
    assert np.allclose(layer.running_mean, 0.9 * mean + 0.1 * second.mean(axis=0), atol=1e-12)


def test_a_step_that_is_not_made_moves_no_statistics():
    model = model_of(nc.Dense(4, 8), nc.BatchNorm(8), nc.Dense(8, 3))
    trainer = nc.Trainer(model, "mean_squared_error", nc.SGD(1e308))
    before = model.store.core.state.copy(), model.parameters.copy(), model.store.core.random_step
    with pytest.raises(FloatingPointError):
        trainer.step(X, 1e300 * Y)
    assert np.array_equal(before[0], model.store.core.state)
    assert np.array_equal(before[1], model.parameters)
    assert before[2] == model.store.core.random_step


def test_a_batch_of_one_row_has_no_statistics():
    model = model_of(nc.Dense(4, 8), nc.BatchNorm(8), nc.Dense(8, 3))
    trainer = nc.Trainer(model, "mean_squared_error")
    before = model.parameters.copy()
    with pytest.raises(ValueError, match=r"at least 2 rows.*got 1"):
        trainer.step(X[:1], Y[:1])
    with pytest.raises(ValueError, match=r"at least 2 rows.*got 1"):
        trainer.fit(X, Y, batch_size=3, progress=False)  # 7 rows leave a last batch of 1
    assert np.array_equal(before, model.parameters)
    trainer.fit(X, Y, batch_size=4, progress=False)
    assert model.predict(X[:1]).shape == (1, 3)


def test_state_is_kept_by_files_copies_pickles_and_checkpoints(tmp_path):
    model = model_of(nc.Dense(4, 8), nc.BatchNorm(8), nc.Dropout(0.1), nc.Dense(8, 3), dtype=np.float32)
    trainer = nc.Trainer(model, "mean_squared_error")
    trainer.fit(X, Y, epochs=3, batch_size=4, progress=False)
    assert list(model.named_state()) == ["1.running_mean", "1.running_var"]
    model.save(tmp_path / "model.safetensors")
    for other in (nc.load(tmp_path / "model.safetensors"), model.copy()):
        assert np.array_equal(other.predict(X), model.predict(X))
        assert np.array_equal(other[1].running_var, model[1].running_var)
    trainer.save(tmp_path / "checkpoint.safetensors")
    resumed = nc.Trainer(nc.load(tmp_path / "model.safetensors"), "mean_squared_error")
    resumed.restore(tmp_path / "checkpoint.safetensors")
    for one in (trainer, resumed):
        one.fit(X, Y, epochs=2, batch_size=4, progress=False)
    assert np.array_equal(trainer.model.parameters, resumed.model.parameters)
    assert np.array_equal(trainer.model.store.core.state, resumed.model.store.core.state)


def test_best_weights_come_back_with_their_statistics():
    model = model_of(nc.Dense(4, 8), nc.BatchNorm(8), nc.Dense(8, 3))
    trainer = nc.Trainer(model, "mean_squared_error", nc.SGD(10.0))
    seen = {}

    class Watch(nc.Callback):
        def on_epoch_end(self, trainer, logs):
            seen[logs["val_loss"]] = model.store.core.state.copy()

    stop = nc.EarlyStopping(monitor="val_loss", patience=2, restore_best=True)
    trainer.fit(
        X, Y, epochs=6, batch_size=7, validation_data=(X, Y), callbacks=[Watch(), stop], progress=False
    )
    assert np.array_equal(model.store.core.state, seen[min(seen)])


def test_soft_updates_move_state_too():
    model = model_of(nc.BatchNorm(4))
    target = model.copy()
    model.forward(X, training=True)
    target.soft_update(model, 0.5)
    assert np.allclose(target[0].running_mean, 0.5 * model[0].running_mean)


# Embedding, Parameter -----------------------------------------------------------------------------------


def embedding_model():
    x = nc.Input(2, is_integer=True, name="codes")
    table = nc.Embedding(5, 3)
    return nc.Model(x, nc.Dense(6, 2)(table(x)), dtype=np.float64, seed=0), table


def test_embeddings_are_rows_of_the_table():
    model, table = embedding_model()
    codes = np.array([[0, 4], [2, 2], [1, 0]])
    expected = table.weight[codes].reshape(3, 6) @ model[1].weight.T + model[1].bias
    assert np.allclose(model.predict(codes), expected)
    assert table.weight.flags.c_contiguous
    assert nc.check_gradients(model, codes, np.ones((3, 2)), "mean_squared_error").ok


def test_lists_of_integers_are_codes():
    model, _ = embedding_model()
    codes = [[0, 4], [2, 2], [1, 0]]
    assert np.array_equal(model.predict(codes), model.predict(np.array(codes, np.uint8)))
    nc.Trainer(model, "mean_squared_error").fit(codes, np.ones((3, 2)), progress=False)
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": np.array([0, 2, 1], np.int8), "b": np.array([4, 2, 0])})
    assert np.array_equal(model.predict(table), model.predict(codes))


def test_integers_have_no_gradient():
    codes, x = nc.Input(1, is_integer=True), nc.Input(3)
    model = nc.Model([codes, x], nc.Embedding(5, 3)(codes) * x, dtype=np.float64)
    model.forward([[[1], [2]], np.ones((2, 3))])
    grad_x = model.backward(np.ones((2, 3)))
    assert np.array_equal(grad_x, model[0].weight[[1, 2]])
    model, _ = embedding_model()
    model.forward([[0, 4]])
    assert model.backward([[1.0, 1.0]]) == []


@pytest.mark.parametrize("wrong", [5, -1])
def test_integers_that_an_embedding_lacks_are_named(wrong):
    model, _ = embedding_model()
    trainer = nc.Trainer(model, "mean_squared_error")
    codes = np.array([[0, 1], [2, wrong]])
    for call in (
        lambda: model.predict(codes),
        lambda: model.forward(codes),
        lambda: trainer.step(codes, np.ones((2, 2))),
        lambda: trainer.fit(codes, np.ones((2, 2)), progress=False),
    ):
        with pytest.raises(ValueError, match=rf"in \[0, 5\).*got {wrong} in row 1, column 1"):
            call()


def test_floats_are_no_codes():
    model, _ = embedding_model()
    with pytest.raises(ValueError, match=r"x must be of an integer dtype.*got floats"):
        model.predict(np.zeros((2, 2)))


def test_embeddings_and_other_layers_read_their_own_kind_of_numbers():
    x = nc.Input(2)
    with pytest.raises(ValueError, match=r"\(embedding\) must read an integer input; got the floats"):
        nc.Model(x, nc.Embedding(5, 3)(x))
    x = nc.Input(2, is_integer=True)
    with pytest.raises(ValueError, match=r"\(dense\) must read floats; got the integer input"):
        nc.Model(x, nc.Dense(2, 3)(x))


def test_embeddings_are_saved(tmp_path):
    model, _ = embedding_model()
    model.save(tmp_path / "m.safetensors")
    codes = np.array([[0, 4]])
    assert np.array_equal(nc.load(tmp_path / "m.safetensors").predict(codes), model.predict(codes))


def test_a_parameter_reads_nothing_and_learns():
    x = nc.Input(3)
    scale = nc.Parameter(3, initializer=nc.Constant(1.0))
    model = nc.Model(x, x * scale(), dtype=np.float64)
    trainer = nc.Trainer(model, "mean_squared_error", nc.Adam(0.05))
    x_train = RNG.normal(size=(50, 3))
    trainer.fit(x_train, x_train * [1.0, 2.0, -3.0], epochs=200, progress=False)
    assert np.allclose(scale.value, [1.0, 2.0, -3.0], atol=0.05)
    assert nc.check_gradients(model, X[:, :3], Y, "mean_squared_error").ok


def test_arrays_of_layers_are_views():
    model = model_of(nc.Dense(4, 3), nc.PReLU(3))
    model[1].weight = [0.1, 0.2, 0.3]
    z = X @ model[0].weight.T + model[0].bias
    assert np.allclose(model.predict(X), np.where(z > 0, z, z * [0.1, 0.2, 0.3]))
    with pytest.raises(AttributeError, match="has no weight"):
        nc.BatchNorm(3, affine=False).weight  # noqa: B018


# Bits ---------------------------------------------------------------------------------------------------


def trained(dtype):
    codes, x = nc.Input(1, is_integer=True), nc.Input(70)
    hidden = nc.Dropout(0.3)(nc.ReLU()(nc.BatchNorm(130)(nc.Dense(70, 130)(x))))
    joined = nc.Concatenate()(hidden, nc.Embedding(9, 5)(codes))
    model = nc.Model([codes, x], nc.PReLU(3)(nc.Dense(135, 3)(joined)), dtype=dtype, seed=3)
    data = np.random.default_rng(1)
    inputs = [data.integers(0, 9, size=(530, 1)), data.normal(size=(530, 70))]
    nc.Trainer(model, "mean_squared_error").fit(inputs, data.normal(size=(530, 3)), 2, 177, progress=False)
    return model.parameters.tobytes() + model.store.core.state.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_do_not_depend_on_instruction_sets_and_threads(dtype):
    config = nc.show_config()
    results = set()
    try:
        for name in config["instruction_sets_supported"]:
            _core.use_instruction_set(name)
            for threads in (1, 2, 3):
                nc.set_num_threads(threads)
                results.add(trained(dtype))
    finally:
        _core.use_instruction_set(config["instruction_set"])
        nc.set_num_threads(config["num_threads"])
    assert len(results) == 1
