"""Pickles and deep copies: of each object, shared objects within a pickle, and equal bits afterwards."""

from __future__ import annotations

import copy
import json
import math
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nncore as nc

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.standard_normal((24, 3)), RANDOM.standard_normal((24, 2))
LABELS = np.arange(24) % 2

WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda item: pickle.loads(pickle.dumps(item)),
    "the first protocols": lambda item: pickle.loads(pickle.dumps(item, protocol=2)),
    "deepcopy": copy.deepcopy,
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def half_square(output: Any, y: Any) -> tuple[float, Any]:
    return float(0.5 * ((output - y) ** 2).mean()), (output - y) / output.size


def largest(y_true: Any, y_pred: Any) -> float:
    return float(np.abs(y_true - y_pred).max())


def halve(step: int) -> float:
    return 0.5**step


def scale(gradients: Any) -> None:
    gradients *= 0.5


def regressor(optimizer: Any = "adam", loss: Any = "mean_squared_error", **options: Any) -> nc.Trainer:
    layers = nc.Dense(3, 8), nc.BatchNorm(8), nc.Dropout(0.2), nc.Dense(8, 2)
    dtype = options.pop("dtype", "float32")
    return nc.Trainer(nc.Sequential(*layers, seed=0, dtype=dtype), loss, optimizer, **options)


# Trainers -----------------------------------------------------------------------------------------------

TRAINERS: dict[str, Callable[[], nc.Trainer]] = {
    "adam": regressor,
    "float64": lambda: regressor(nc.SGD(0.1, momentum=0.9), dtype="float64"),
    "a schedule": lambda: regressor(nc.AdamW(1e-2, schedule=nc.cosine_decay(40, warmup_steps=5))),
    "functions": lambda: regressor(
        nc.Adagrad(0.1, schedule=halve, transforms=[scale]), half_square, metrics=[largest]
    ),
    "transforms": lambda: regressor(
        nc.RMSprop(1e-2, transforms=[nc.clip_by_global_norm(0.1), nc.moving_average(0.9), scale])
    ),
    "a loss with parameters": lambda: regressor("sgd", nc.Huber(delta=0.3), seed=5),
    "labels": lambda: nc.Trainer(
        nc.mlp([3, 4, 2], output="softmax", seed=0), "cross_entropy", metrics=["accuracy"]
    ),
}


@ways
@pytest.mark.parametrize("name", TRAINERS)
def test_a_copied_trainer_goes_on_with_equal_bits(name: str, way: Callable[[Any], Any]) -> None:
    trainer = TRAINERS[name]()
    y = LABELS if name == "labels" else Y
    trainer.fit(X, y, epochs=2, batch_size=5, progress=False)
    trainer.optimizer.learning_rate *= 0.9
    other = way(trainer)
    assert str(other) == str(trainer)
    for one in (trainer, other):
        one.fit(X, y, epochs=2, batch_size=5, progress=False)
        one.step(X, y)
    assert np.array_equal(other.model.parameters, trainer.model.parameters)
    assert np.array_equal(other.model.store.core.state, trainer.model.store.core.state)
    slots, wanted = (one.optimizer.state(one.model.store).slots for one in (other, trainer))
    assert slots.keys() == wanted.keys()
    assert all(np.array_equal(slots[slot], wanted[slot]) for slot in wanted)
    assert all(other.history[c] == trainer.history[c] for c in trainer.history if c != "seconds")
    assert (other.steps, other.seed) == (trainer.steps, trainer.seed)


@ways
def test_a_copied_trainer_has_what_is_its_own(way: Callable[[Any], Any]) -> None:
    trainer = regressor()
    trainer.fit(X, Y, progress=False)
    other = way(trainer)
    before = trainer.model.parameters.copy(), trainer.steps
    other.fit(X, Y, epochs=3, progress=False)
    assert np.array_equal(trainer.model.parameters, before[0])
    assert (trainer.steps, trainer.history.epochs) == (before[1], 1)


class Best(nc.Callback):
    """Keeps the best trainer so far."""

    def __init__(self, way: Callable[[Any], Any]) -> None:
        self.way, self.kept, self.loss = way, None, math.inf

    def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
        if logs["loss"] < self.loss:
            self.kept, self.loss = self.way(trainer), logs["loss"]


@ways
def test_a_callback_may_copy_the_trainer(way: Callable[[Any], Any]) -> None:
    """The copy continues like the original fit, including callbacks that are still pending."""
    trainer, best = regressor(), Best(way)
    trainer.fit(X, Y, epochs=4, progress=False, callbacks=[nc.EarlyStopping(9, "loss", False), best])
    again, stopping = best.kept, nc.EarlyStopping(9, "loss", False)
    assert again is not None
    first = again.history.epochs
    again.fit(X, Y, epochs=4 - first or 1, progress=False, callbacks=[stopping])
    assert stopping.best.value <= best.loss
    if first < 4:
        assert np.array_equal(again.model.parameters, trainer.model.parameters)


@ways
def test_a_trainer_and_its_callbacks_know_each_other(way: Callable[[Any], Any]) -> None:
    trainer, stopping = regressor(), nc.EarlyStopping(9, "loss")
    trainer.fit(X, Y, epochs=3, progress=False, callbacks=[stopping])
    together, alone = way([trainer, stopping]), way(stopping)
    together[0].optimizer.learning_rate = 3.0
    together[0].fit(X, Y, epochs=2, progress=False, callbacks=together[1:])
    assert together[1].best_epoch == stopping.best_epoch
    assert alone.best_epoch == stopping.best_epoch


def test_a_trainer_that_another_thread_trains_is_not_copied() -> None:
    def metric(y_true: Any, y_pred: Any) -> float:
        with pytest.raises(RuntimeError, match="within an epoch"):
            pickle.dumps(trainer)
        return 0.0

    class Beside(nc.Callback):
        def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
            def copy_it() -> None:
                try:
                    copy.deepcopy(trainer)
                except RuntimeError as error:
                    errors.append(str(error))

            thread = threading.Thread(target=copy_it)
            thread.start()
            thread.join()

    errors: list[str] = []
    trainer = regressor(metrics=[metric])
    trainer.fit(X, Y, progress=False, callbacks=[Beside()])
    assert len(errors) == 1


def test_pickles_are_read_by_another_process() -> None:
    trainer = TRAINERS["labels"]()
    trainer.fit(X, LABELS, epochs=2, progress=False)
    program = """
import pickle, sys
import numpy as np
trainer, x, y = pickle.load(sys.stdin.buffer)
trainer.fit(x, y, epochs=2, progress=False)
sys.stdout.write(trainer.model.parameters.tobytes().hex())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps((trainer, X, LABELS)),
        capture_output=True,
        check=True,
    )
    trainer.fit(X, LABELS, epochs=2, progress=False)
    assert done.stdout.decode() == trainer.model.parameters.tobytes().hex()


# Shared objects within a pickle --------------------------------------------------------------------------


def agent() -> dict[str, nc.Model]:
    x = nc.Input(3)
    trunk = nc.Tanh()(nc.Dense(3, 8, name="trunk")(x))
    policy, value = nc.Dense(8, 2, name="policy")(trunk), nc.Dense(8, 1, name="value")(trunk)
    both = nc.Model(x, [policy, value], seed=0)
    return {"both": both, "actor": nc.Model(x, policy), "critic": nc.Model(x, value)}


def autoencoder() -> dict[str, nc.Model]:
    encoder = nc.Sequential(nc.Dense(3, 2), nc.Tanh(), name="encoder")
    whole = nc.Sequential(encoder, encoder[0].transposed(), seed=0)
    return {"whole": whole, "encoder": encoder, "slice": whole[:1]}


SHARING = {"agent": (agent, "actor"), "autoencoder": (autoencoder, "encoder")}


@ways
@pytest.mark.parametrize("name", SHARING)
@pytest.mark.parametrize("reverse", [False, True])
def test_models_that_share_a_store_share_it_afterwards(
    name: str, reverse: bool, way: Callable[[Any], Any]
) -> None:
    make, part = SHARING[name]
    models = make()
    items = list(models.items())
    other = dict(way(items[::-1] if reverse else items))
    assert len({id(model.store) for model in other.values()}) == 1
    assert other[part].store is not models[part].store
    for key, model in models.items():
        assert list(other[key].named_parameters()) == list(model.named_parameters())
        assert str(other[key]) == str(model)
        for found, wanted in zip(_list(other[key].predict(X)), _list(model.predict(X)), strict=True):
            assert np.array_equal(found, wanted)
    other[part].parameters[:] = 0.25
    assert all((model.parameters == 0.25).all() for model in other.values())
    assert not (models[part].parameters == 0.25).any()


def _list(outputs: Any) -> list[Any]:
    return outputs if isinstance(outputs, list) else [outputs]


@ways
def test_two_trainers_of_one_store_share_it_afterwards(way: Callable[[Any], Any]) -> None:
    models = agent()
    trainers = [
        nc.Trainer(models["actor"], "mean_squared_error", nc.Adam(1e-2)),
        nc.Trainer(models["critic"], "mean_squared_error", nc.SGD(1e-2, momentum=0.9)),
    ]

    def train(actor: nc.Trainer, critic: nc.Trainer) -> None:
        for _ in range(3):
            actor.step(X, Y)
            critic.step(X, Y[:, 0])

    train(*trainers)
    others = way(trainers)
    train(*trainers)
    train(*others)
    assert others[0].model.store is others[1].model.store
    assert np.array_equal(others[0].model.parameters, trainers[0].model.parameters)


@ways
def test_one_optimizer_of_two_models_stays_one(way: Callable[[Any], Any]) -> None:
    optimizer = nc.Adam(1e-2)
    trainers = [nc.Trainer(nc.mlp([3, 4, 2], seed=seed), "mean_squared_error", optimizer) for seed in (0, 1)]
    for trainer in trainers:
        trainer.fit(X, Y, progress=False)
    others = way(trainers)
    assert others[0].optimizer is others[1].optimizer is not optimizer
    for one, other in zip(trainers, others, strict=True):
        one.step(X, Y)
        other.step(X, Y)
        assert np.array_equal(one.model.parameters, other.model.parameters)


@ways
def test_a_model_and_its_layers_stay_together(way: Callable[[Any], Any]) -> None:
    model = nc.mlp([3, 4, 2], seed=0)
    for items in ([model, model[0], model[2]], [model[2], model[0], model]):
        found = way(items)
        twin = found[0] if isinstance(found[0], nc.Model) else found[2]
        assert all(any(layer is mine for mine in twin) for layer in found if layer is not twin)
        twin[0].weight[:] = 3
        assert (twin.named_parameters()["0.weight"] == 3).all()
    assert not (model[0].weight == 3).any()


@ways
def test_a_loop_of_ones_own_goes_on(way: Callable[[Any], Any]) -> None:
    model, optimizer = nc.mlp([3, 8, 2], seed=0), nc.Adam(1e-2, transforms=[nc.moving_average(0.5)])

    def steps(model: nc.Model, optimizer: nc.Optimizer) -> None:
        for _ in range(3):
            model.loss_and_gradients(X, Y, "mean_squared_error")
            optimizer.step(model)

    steps(model, optimizer)
    twin, other = way((model, optimizer))
    steps(model, optimizer)
    steps(twin, other)
    assert np.array_equal(twin.parameters, model.parameters)
    with optimizer.averaged(model), other.averaged(twin):
        assert np.array_equal(twin.parameters, model.parameters)


@ways
def test_one_object_within_a_pickle_is_one_afterwards(way: Callable[[Any], Any]) -> None:
    model = nc.mlp([3, 2])
    first, second = way([model, model])
    assert first is second


# Each object by itself ----------------------------------------------------------------------------------


def trained_adam() -> nc.Optimizer:
    trainer = regressor()
    trainer.fit(X, Y, progress=False)
    return trainer.optimizer


LAYERS: dict[str, Callable[[], nc.Layer]] = {
    "dense": lambda: nc.Dense(3, 3, name="first", weight_initializer=nc.Constant(0.5)),
    "frozen": lambda: nc.Dense(3, 3, trainable=False),
    "batch norm": lambda: nc.BatchNorm(3),
    "layer norm": lambda: nc.LayerNorm(3),
    "prelu": lambda: nc.PReLU(3),
    "dropout": lambda: nc.Dropout(0.25),
    "leaky relu": lambda: nc.LeakyReLU(0.3),
}


@ways
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_keeps_its_options_and_arrays(name: str, way: Callable[[Any], Any]) -> None:
    layer = LAYERS[name]()
    fresh = way(layer)
    assert (repr(fresh), fresh.name, fresh.trainable) == (repr(layer), layer.name, layer.trainable)
    assert fresh.store is None
    expected = nc.Sequential(layer, nc.Dense(3, 2), in_features=3, seed=1)
    assert np.array_equal(
        nc.Sequential(fresh, nc.Dense(3, 2), in_features=3, seed=1).parameters, expected.parameters
    )
    bound = way(layer)
    assert bound.trainable == layer.trainable
    for key in layer.parameter_specs():
        assert np.array_equal(getattr(bound, key), getattr(layer, key))
        assert not np.shares_memory(getattr(bound, key), getattr(layer, key))
    if layer.has_arrays:
        twin = nc.Sequential(bound, in_features=3)  # keeps using the copied store
        assert twin.store is bound.store
        assert np.array_equal(twin.predict(X), nc.Sequential(layer, in_features=3).predict(X))


OBJECTS: dict[str, Callable[[], Any]] = {
    "an optimizer that was used": trained_adam,
    **{f"optimizer {kind.__name__}": kind for kind in (nc.SGD, nc.Adam, nc.AdamW, nc.Adamax, nc.RMSprop)},
    "transforms": lambda: nc.Adam(transforms=[nc.clip_by_value(0.5), nc.clip_by_global_norm(2.0), scale]),
    "a schedule": lambda: nc.SGD(0.1, schedule=nc.cosine_decay(10)),
    "a callback": lambda: nc.EarlyStopping(3, "val_accuracy"),
    "another callback": lambda: nc.Checkpoint("x", None),
    "an initializer": lambda: nc.Constant(0.5),
    "a loss": lambda: nc.Huber(delta=0.5),
    "a model without parameters": lambda: nc.Sequential(nc.Dropout(0.5), nc.Tanh(), in_features=3, seed=4),
    "a model of integers": lambda: nc.Model(x := nc.Input(2, is_integer=True), nc.Embedding(5, 2)(x), seed=0),
    "a vector": lambda: nc.Model(x := nc.Input(2), x * nc.Parameter(2)(), seed=1),
}


@ways
@pytest.mark.parametrize("name", OBJECTS)
def test_each_object_can_be_copied(name: str, way: Callable[[Any], Any]) -> None:
    item = OBJECTS[name]()
    other = way(item)
    assert type(other) is type(item)
    if not isinstance(item, nc.Callback):
        assert repr(other) == repr(item)
    if isinstance(item, nc.Optimizer):
        assert other.settings == item.settings
        assert list(map(repr, other.transforms)) == list(map(repr, item.transforms))
        assert other.factors(3) == item.factors(3)


@ways
def test_what_dropout_draws_next_goes_along(way: Callable[[Any], Any]) -> None:
    for model in (
        nc.Sequential(nc.Dropout(0.5), in_features=3, seed=4),
        nc.Sequential(nc.Dense(3, 9), nc.Dropout(0.5)),
    ):
        model.forward(X)
        twin = way(model)
        assert np.array_equal(twin.forward(X), model.forward(X))


@ways
def test_multipliers_of_segments_go_along(way: Callable[[Any], Any]) -> None:
    model = nc.mlp([3, 4, 2], seed=0)
    model.store.core.set_learning_rate_multiplier(0, 0.5)
    model.store.core.set_weight_decay_multiplier(1, 2.0)
    segments = way(model).store.core.segments
    assert [one.learning_rate_multiplier for one in segments] == [0.5, 1, 1, 1]
    assert [one.weight_decay_multiplier for one in segments] == [1, 2, 1, 0]


def test_a_shallow_copy_of_a_model_shares_its_parameters() -> None:
    model = nc.mlp([3, 2])
    assert copy.copy(model).store is model.store
    assert np.shares_memory(copy.copy(model).parameters, model.parameters)


# The history --------------------------------------------------------------------------------------------


def history() -> nc.History:
    trainer = regressor(metrics=[largest])
    trainer.fit(X, Y, epochs=2, progress=False)
    return trainer.fit(X, Y, epochs=1, validation_data=(X, Y), progress=False)


def test_a_history_is_a_table_of_epochs() -> None:
    found = history()
    table = pd.DataFrame(found)
    assert list(table) == ["loss", "largest", "seconds", "val_loss", "val_largest"] == list(found)
    assert table.shape == (3, 5)
    assert table["loss"].tolist() == found["loss"]
    assert table["val_loss"].isna().tolist() == [True, True, False]
    assert table.dtypes.eq(np.float64).all()
    assert pd.DataFrame(nc.History(0)).shape == (0, 0)
    assert pd.DataFrame(found, columns=["val_loss"]).shape == (3, 1)


def test_a_history_is_a_dict_of_copies() -> None:
    found = history()
    assert isinstance(found, dict)
    copies = [dict(found), {**found}, found.copy(), dict(found.items()), json.loads(json.dumps(found))]
    for one in copies:
        assert list(one) == list(found)
        one["loss"].append(1.0)
        one.popitem()
    assert (found.epochs, len(found), len(found["loss"])) == (3, 5, 3)
    assert found.get("loss") == found["loss"] == next(iter(found.values()))
    assert found.get("gone") is None
    assert "gone" not in found
    with pytest.raises(KeyError):
        found["gone"]
    assert found.last["loss"] == found["loss"][-1]


CHANGES: dict[str, Callable[[Any], object]] = {
    "setting": lambda found: found.__setitem__("loss", [1.0]),
    "deleting": lambda found: found.__delitem__("loss"),
    "clear": lambda found: found.clear(),
    "pop": lambda found: found.pop("loss"),
    "popitem": lambda found: found.popitem(),
    "setdefault": lambda found: found.setdefault("a", []),
    "update": lambda found: found.update(a=[]),
    "update in place": lambda found: found.__ior__({"a": []}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_only_the_trainer_writes_to_a_history(name: str) -> None:
    found = history()
    before = dict(found)
    with pytest.raises(TypeError, match="history must be changed only by its trainer"):
        CHANGES[name](found)
    assert list(found) == list(before)


@ways
def test_a_copied_history_goes_on_by_itself(way: Callable[[Any], Any]) -> None:
    found = history()
    other = way(found)
    assert pd.DataFrame(other).equals(pd.DataFrame(found))
    assert other.seed == found.seed
    other.append({"loss": 1.0, "new": 2.0})
    assert (other.epochs, found.epochs) == (4, 3)
    assert "new" not in found


def test_epochs_are_whole_for_who_reads_meanwhile() -> None:
    found, done = nc.History(0), threading.Event()
    wrong: list[Any] = []

    def read() -> None:
        while not done.is_set():
            lengths = list(map(len, dict.values(found)))  # a consistent snapshot
            if len(set(lengths)) > 1:
                wrong.append(lengths)

    thread = threading.Thread(target=read)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    for epoch in range(5000):
        found.append({"a": epoch, "b": -epoch})
    done.set()
    thread.join()
    sys.setswitchinterval(interval)
    assert not wrong
    assert found.epochs == 5000
