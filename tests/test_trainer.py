"""Trainer: epochs, steps, validation, callbacks, history, interrupts, resuming."""

import math
import os
import signal
import threading
import time

import numpy as np
import pytest

import nncore as nc
from nncore import _core
from nncore.optimizers import ENTRIES

OPTIMIZERS = [*ENTRIES.values(), lambda: nc.SGD(momentum=0.9, nesterov=True)]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 4))
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int)
Y = np.stack([X[:, 0] * X[:, 1], X.sum(axis=1)], axis=1)
OPTIMIZERS = [*ENTRIES.values(), lambda: nc.SGD(momentum=0.9), lambda: nc.SGD(momentum=0.9, nesterov=True)]


def classifier(optimizer="adam", **options):
    return nc.Trainer(nc.mlp([4, 8, 2], output="softmax", seed=0), "cross_entropy", optimizer, **options)


def regressor(optimizer="adam", **options):
    return nc.Trainer(
        nc.mlp([4, 8, 2], activation="tanh", seed=0), "half_squared_error", optimizer, **options
    )


class Spy(nc.Callback):
    """Records every call."""

    def __init__(self):
        self.calls = []

    def on_fit_begin(self, trainer, logs):
        self.calls.append(("begin", trainer.history.epochs, dict(logs)))

    def on_epoch_end(self, trainer, logs):
        self.calls.append(("epoch", trainer.history.epochs, dict(logs)))

    def on_fit_end(self, trainer, logs):
        self.calls.append(("end", trainer.history.epochs, dict(logs)))


def test_training_learns():
    trainer = classifier(nc.Adam(1e-2), metrics=["accuracy"])
    history = trainer.fit(X, LABELS, epochs=60, batch_size=10, progress=False)
    assert history["accuracy"][-1] == 1.0
    assert history["loss"][-1] < 0.1 * history["loss"][0]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_an_epoch_is_its_steps(make):
    whole, steps = regressor(make()), regressor(make())
    whole.fit(X, Y, epochs=2, batch_size=16, progress=False)
    losses = []
    for epoch in range(2):
        order = _core.shuffled_rows(50, steps.seed, epoch)
        losses = [steps.step(X[rows], Y[rows]) for rows in np.split(order, [16, 32, 48])]
    assert np.array_equal(whole.model.parameters, steps.model.parameters)
    assert whole.history["loss"][-1] == pytest.approx(np.average(losses, weights=[16, 16, 16, 2]), rel=1e-14)


def test_without_shuffling_the_order_is_the_datas():
    whole, steps = regressor(), regressor()
    whole.fit(X, Y, epochs=2, batch_size=25, shuffle=False, progress=False)
    for rows in [slice(25), slice(25, 50)] * 2:
        steps.step(X[rows], Y[rows])
    assert np.array_equal(whole.model.parameters, steps.model.parameters)


def test_two_fits_are_one_long_fit():
    once, twice = classifier(), classifier()
    once.fit(X, LABELS, epochs=5, progress=False)
    twice.fit(X, LABELS, epochs=2, progress=False)
    history = twice.fit(X, LABELS, epochs=3, progress=False)
    assert np.array_equal(once.model.parameters, twice.model.parameters)
    assert history is twice.history
    assert history["loss"] == once.history["loss"]


def test_the_seed_decides_the_order():
    runs = [classifier(seed=seed) for seed in (1, 1, 2)]
    for trainer in runs:
        trainer.fit(X, LABELS, epochs=1, batch_size=7, progress=False)
    assert np.array_equal(runs[0].model.parameters, runs[1].model.parameters)
    assert not np.array_equal(runs[0].model.parameters, runs[2].model.parameters)
    assert runs[2].history.seed == 2
    assert classifier().seed == 0  # the model's seed


def test_metrics_are_of_the_parameters_at_the_end_of_the_epoch():
    def bias(y_true, y_pred):
        return float((y_pred - y_true).mean())

    trainer = regressor(metrics=[bias])
    for _ in range(3):
        trainer.fit(X[:30], Y[:30], validation_data=(X[30:], Y[30:]), progress=False)
        assert trainer.history["bias"][-1] == trainer.evaluate(X[:30], Y[:30])["bias"]
        validated = trainer.evaluate(X[30:], Y[30:])
        assert trainer.history["val_bias"][-1] == validated["bias"]
        assert trainer.history["val_loss"][-1] == validated["loss"]
    assert list(trainer.history) == ["loss", "bias", "val_loss", "val_bias", "seconds"]


def test_the_loss_of_many_rows_is_that_of_all():
    trainer = regressor()
    x = RNG.standard_normal((9000, 4))
    y, weight = RNG.standard_normal((9000, 2)), RNG.random(9000)
    weight[4096:8192] = 0  # a whole chunk without weight
    per_sample = 0.5 * ((trainer.model.predict(x) - y) ** 2).sum(axis=1)
    assert trainer.evaluate(x, y)["loss"] == pytest.approx(per_sample.mean(), rel=1e-6)
    expected = (weight * per_sample).sum() / weight.sum()
    assert trainer.evaluate(x, y, sample_weight=weight)["loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("weight", [np.nan, -1.0, 1.0])
def test_every_row_of_an_evaluation_is_checked(weight):
    trainer = nc.Trainer(nc.mlp([4, 2], output="softmax", seed=0), "cross_entropy")
    x, y, weights = RNG.standard_normal((9000, 4)), np.zeros(9000, int), np.ones(9000)
    weights[4096:8192] = weight  # a whole chunk, and perhaps a label
    y[5000] = 2 if weight == 1 else 0
    message = "label 2 in row 5000" if weight == 1 else "sample_weight must be finite and at least 0"
    with pytest.raises(ValueError, match=message):
        trainer.evaluate(x, y, sample_weight=weights)


def test_sample_weights_repeat_samples():
    weighted, repeated = regressor(nc.SGD(0.1)), regressor(nc.SGD(0.1))
    weight = RNG.integers(0, 3, 50)
    weighted.step(X, Y, sample_weight=weight)
    repeated.step(np.repeat(X, weight, axis=0), np.repeat(Y, weight, axis=0))
    np.testing.assert_allclose(weighted.model.parameters, repeated.model.parameters, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("loss", "output", "y"),
    [
        ("cross_entropy", nc.Softmax, LABELS),
        ("softmax_cross_entropy", nc.Identity, np.eye(2)[LABELS]),
        ("binary_cross_entropy", nc.Sigmoid, np.eye(2)[LABELS]),
        ("sigmoid_cross_entropy", nc.Identity, np.eye(2)[LABELS]),
    ],
)
def test_accuracy_knows_logits_from_probabilities(loss, output, y):
    model = nc.Sequential(nc.Dense(4, 2), output(), seed=0)
    model[0].weight[:] = [[-1, -1, 0, 0], [1, 1, 0, 0]]
    model[0].bias[:] = [0.0, 0.0]
    assert nc.Trainer(model, loss, metrics=["accuracy"]).evaluate(X, y)["accuracy"] == 1.0


def test_accuracy_of_one_output():
    model = nc.Sequential(nc.Dense(4, 1), nc.Sigmoid(), seed=0)
    model[0].weight[:] = [[1, 1, 0, 0]]
    trainer = nc.Trainer(model, "binary_cross_entropy", metrics=["accuracy"])
    assert trainer.evaluate(X, LABELS)["accuracy"] == 1.0
    assert trainer.evaluate(X, 1 - LABELS.reshape(-1, 1))["accuracy"] == 0.0


def two_headed():
    x = nc.Input(4)
    hidden = nc.Tanh()(nc.Dense(4, 8)(x))
    heads = [nc.Softmax(name="kind")(nc.Dense(8, 2)(hidden)), nc.Dense(8, 2, name="size")(hidden)]
    return nc.Model(x, heads, seed=0)


def test_several_losses_are_summed_with_their_weights():
    both = nc.Trainer(two_headed(), ["cross_entropy", "mean_squared_error"], loss_weights=[1.0, 0.5])
    first = nc.Trainer(both.model, {"kind": "cross_entropy"})
    second = nc.Trainer(both.model, [None, "mean_squared_error"])
    total = both.evaluate(X, {"kind": LABELS, "size": Y})["loss"]
    expected = first.evaluate(X, LABELS)["loss"] + 0.5 * second.evaluate(X, Y)["loss"]
    assert total == pytest.approx(expected, rel=1e-12)


def test_metrics_of_several_outputs_are_named_after_them():
    losses = {"kind": "cross_entropy", "size": "mean_squared_error"}

    def error(y_true, y_pred):
        return float(np.abs(y_true - y_pred).max())

    trainer = nc.Trainer(two_headed(), losses, metrics={"kind": ["accuracy"], "size": [error]})
    history = trainer.fit(X, [LABELS, Y], progress=False)
    assert list(history) == ["loss", "kind_accuracy", "size_error", "seconds"]


def test_a_python_loss_trains_like_the_library():
    def half_squared(output, y):
        return 0.5 * float(((output - y) ** 2).sum()) / len(y), (output - y) / len(y)

    models = [nc.mlp([4, 8, 2], activation="tanh", dtype=np.float64, seed=0) for _ in range(2)]
    losses = ("half_squared_error", half_squared)
    trainers = [nc.Trainer(model, loss, "adam") for model, loss in zip(models, losses, strict=True)]
    for trainer in trainers:
        trainer.fit(X, Y, epochs=3, batch_size=16, validation_data=(X, Y), progress=False)
        trainer.step(X, Y)
    np.testing.assert_allclose(models[1].parameters, models[0].parameters, rtol=1e-9, atol=1e-12)
    for column in ("loss", "val_loss"):
        np.testing.assert_allclose(trainers[1].history[column], trainers[0].history[column], rtol=1e-9)


def test_python_losses_of_several_outputs():
    calls = []

    def first(output, y):
        calls.append(output.shape)
        return 1.0, np.ones_like(output)

    trainer = nc.Trainer(two_headed(), [first, None], nc.SGD(0.1))
    head = trainer.model["size"].weight.copy()
    assert trainer.step(X, LABELS) == 1.0
    assert calls == [(50, 2)]
    assert np.array_equal(trainer.model["size"].weight, head)


def test_the_learning_rate_may_change_between_steps():
    trainer = regressor(nc.SGD(0.1))
    trainer.step(X, Y)
    before = trainer.model.parameters.copy()
    trainer.optimizer.learning_rate = 0.0
    trainer.step(X, Y)
    assert np.array_equal(trainer.model.parameters, before)
    assert trainer.optimizer.settings["learning_rate"] == 0.0


def test_an_optimizer_has_a_state_for_every_store():
    optimizer = nc.Adam(1e-2)
    shared, alone = [regressor(optimizer) for _ in range(2)], regressor(nc.Adam(1e-2))
    for _ in range(3):
        for trainer in (*shared, alone):
            trainer.step(X, Y)
    for trainer in shared:
        assert np.array_equal(trainer.model.parameters, alone.model.parameters)
        assert optimizer.state(trainer.model.store).steps == 3


# Callbacks --------------------------------------------------------------------------------------------


def test_callbacks_see_every_epoch():
    spy, trainer = Spy(), classifier(metrics=["accuracy"])
    trainer.fit(X, LABELS, epochs=2, validation_data=(X, LABELS), progress=False, callbacks=[spy])
    assert [(kind, epochs) for kind, epochs, _ in spy.calls] == [
        ("begin", 0),
        ("epoch", 1),
        ("epoch", 2),
        ("end", 2),
    ]
    columns = ["loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
    assert all(list(logs) == columns for _, _, logs in spy.calls)
    assert all(math.isnan(value) for value in spy.calls[0][2].values())
    assert spy.calls[2][2] == trainer.history.last


class Column(nc.Callback):
    """Replaces a trainer's validation losses by planned ones in the logs."""

    def __init__(self, callback, plan):
        self.callback, self.plan = callback, iter(plan)

    def on_fit_begin(self, trainer, logs):
        self.callback.on_fit_begin(trainer, {**logs, "val_loss": math.nan})

    def on_epoch_end(self, trainer, logs):
        self.callback.on_epoch_end(trainer, {**logs, "val_loss": next(self.plan)})

    def on_fit_end(self, trainer, logs):
        self.callback.on_fit_end(trainer, logs)


@pytest.mark.parametrize(
    ("plan", "epochs", "best"),
    [
        ([3, 2, 1, 4, 5, 6, 0], 5, 3),
        ([3, 2, 2, 2, 2, 2], 4, 2),
        ([math.nan, 2, math.nan, math.nan, 1], 5, 5),
        ([2, math.nan, 3, math.nan, 3, 1], 5, 1),
        ([3, 2, 1], 3, 3),
        ([5, 4, 6, 3, 7], 5, 4),
    ],
)
def test_early_stopping_waits_and_goes_back_to_the_best(plan, epochs, best):
    spy, trainer = Spy(), classifier()
    kept = []
    spy.on_epoch_end = lambda trainer, _: kept.append(trainer.model.parameters.copy())
    stopping = Column(nc.EarlyStopping(patience=2), plan)
    trainer.fit(X, LABELS, epochs=len(plan), progress=False, callbacks=[spy, stopping])
    assert trainer.history.epochs == epochs
    assert np.array_equal(trainer.model.parameters, kept[best - 1])


def test_early_stopping_may_keep_the_last():
    trainer, last = classifier(), []
    spy = Spy()
    spy.on_epoch_end = lambda trainer, _: last.append(trainer.model.parameters.copy())
    stopping = Column(nc.EarlyStopping(patience=1, restore_best=False), [1, 2, 3])
    trainer.fit(X, LABELS, epochs=3, progress=False, callbacks=[spy, stopping])
    assert trainer.history.epochs == 2
    assert np.array_equal(trainer.model.parameters, last[-1])


def test_monitors_know_which_way_is_better():
    nc.EarlyStopping(1, "val_accuracy")
    nc.EarlyStopping(1, "val_mae", mode="min")
    with pytest.raises(
        ValueError, match=r"mode must be one of auto, min, max; got 'mim' \(did you mean 'min'"
    ):
        nc.EarlyStopping(1, "val_mae", mode="mim")


def test_a_missing_column_is_noticed_before_training():
    trainer = classifier()
    before = trainer.model.parameters.copy()
    message = "monitor must be one of loss, seconds, as the fit has no validation_data; got 'val_loss'"
    with pytest.raises(ValueError, match=message):
        trainer.fit(X, LABELS, progress=False, callbacks=[nc.EarlyStopping(3)])
    assert np.array_equal(trainer.model.parameters, before)


def test_checkpoints_of_the_best_epoch(tmp_path):
    path, trainer, kept = tmp_path / "best.safetensors", classifier(), []
    spy = Spy()
    spy.on_epoch_end = lambda trainer, _: kept.append(trainer.model.parameters.copy())
    trainer.fit(
        X, LABELS, epochs=4, progress=False, callbacks=[spy, Column(nc.Checkpoint(path), [3, 1, 2, 2])]
    )
    assert np.array_equal(nc.load(path).parameters, kept[1])
    trainer.fit(X, LABELS, epochs=1, progress=False, callbacks=[nc.Checkpoint(path, monitor=None)])
    assert np.array_equal(nc.load(path).parameters, trainer.model.parameters)


def test_history_prints_as_a_table():
    history = regressor().fit(X, Y, epochs=2, progress=False)
    lines = str(history).splitlines()
    assert lines[0].split() == ["epoch", "loss", "seconds"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2"]
    assert history.epochs == len(history["loss"]) == 2
    with pytest.raises(KeyError):
        history["val_loss"]


def test_history_of_fits_with_and_without_validation():
    trainer = regressor()
    trainer.fit(X, Y, progress=False)
    trainer.fit(X, Y, validation_data=(X, Y), progress=False)
    assert math.isnan(trainer.history["val_loss"][0])
    assert not math.isnan(trainer.history["val_loss"][1])


# Ending a fit early -----------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_before_its_update():
    trainer, twin = regressor(nc.SGD(0.1)), regressor(nc.SGD(0.1))
    y = Y.copy()
    y[40] = np.inf
    with pytest.raises(FloatingPointError, match="the loss is inf in step 5; that step was not made"):
        trainer.fit(X, y, batch_size=10, shuffle=False, progress=False)
    twin.fit(X[:40], Y[:40], batch_size=10, shuffle=False, progress=False)
    assert np.array_equal(trainer.model.parameters, twin.model.parameters)
    assert trainer.history.epochs == 0
    assert trainer.optimizer.state(trainer.model.store).steps == 4


def test_a_python_loss_that_is_not_finite_stops_before_its_update():
    trainer = nc.Trainer(nc.mlp([4, 2], seed=0), lambda o, y: (math.inf, o))
    before = trainer.model.parameters.copy()
    with pytest.raises(FloatingPointError):
        trainer.step(X, Y)
    assert np.array_equal(trainer.model.parameters, before)


def interrupt_after(seconds):
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


@pytest.mark.parametrize(
    "loss", ["half_squared_error", lambda o, y: (float((o - y).mean()), o - y)], ids=["core", "python"]
)
def test_ctrl_c_leaves_what_the_last_whole_step_left(loss):
    steps = [nc.mlp([4, 8, 2], activation="tanh", seed=0).parameters.copy()]
    reference = nc.Trainer(nc.mlp([4, 8, 2], activation="tanh", seed=0), loss, nc.SGD(1e-3))
    trainer = nc.Trainer(nc.mlp([4, 8, 2], activation="tanh", seed=0), loss, nc.SGD(1e-3))
    timer = interrupt_after(0.1)
    begin = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=10**9, batch_size=5, progress=False)
    timer.join()
    assert time.perf_counter() - begin < 10
    done = trainer.optimizer.state(trainer.model.store).steps
    epochs, within = divmod(done, 10)
    assert trainer.history.epochs in (epochs, epochs - 1)  # the last epoch may have been ending
    if epochs:
        reference.fit(X, Y, epochs=epochs, batch_size=5, progress=False)
    order = _core.shuffled_rows(50, 0, epochs)
    for rows in np.split(order[: 5 * within], within) if within else []:
        steps.append(reference.step(X[rows], Y[rows]))
    assert np.array_equal(trainer.model.parameters, reference.model.parameters)


def test_an_error_in_a_callback_leaves_whole_epochs():
    class Failing(nc.Callback):
        def on_epoch_end(self, trainer, logs):
            raise RuntimeError("of the callback")

    trainer = classifier()
    with pytest.raises(RuntimeError, match="of the callback"):
        trainer.fit(X, LABELS, epochs=3, progress=False, callbacks=[Failing()])
    assert trainer.history.epochs == 1
    trainer.fit(X, LABELS, epochs=2, progress=False)
    assert trainer.history.epochs == 3


# Resuming ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(make, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    whole, first, second = (classifier(make()) for _ in range(3))
    for trainer in (whole, first):
        trainer.fit(X, LABELS, epochs=2, batch_size=7, validation_data=(X, LABELS), progress=False)
        trainer.optimizer.learning_rate /= 3
        trainer.step(X[:9], LABELS[:9])
    first.save(path)
    second.step(X, LABELS)  # earlier steps do not matter
    second.restore(path)
    for trainer in (whole, second):
        trainer.fit(X, LABELS, epochs=2, batch_size=7, progress=False)
    assert np.array_equal(whole.model.parameters, second.model.parameters)
    assert second.optimizer.settings == whole.optimizer.settings
    assert second.history["loss"] == whole.history["loss"]
    assert math.isnan(second.history["val_loss"][3])


def test_a_checkpoint_of_one_model_of_a_shared_store(tmp_path):
    path = tmp_path / "actor.safetensors"

    def actor():
        x, trunk, policy, value = nc.Input(4), nc.Dense(4, 3), nc.Dense(3, 2), nc.Dense(3, 1)
        hidden = trunk(x)
        whole = nc.Model(x, [policy(hidden), value(hidden)], seed=0)
        return nc.Trainer(nc.Sequential(trunk, policy), "half_squared_error", "adam"), whole

    (trained, _), (restored, whole) = actor(), actor()
    trained.fit(X, Y, epochs=2, progress=False)
    trained.save(path)
    value = whole.layers[2].weight.copy()
    restored.restore(path)
    for trainer in (trained, restored):
        trainer.fit(X, Y, epochs=1, progress=False)
    assert np.array_equal(trained.model.predict(X), restored.model.predict(X))
    assert np.array_equal(whole.layers[2].weight, value)
