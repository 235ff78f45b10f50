"""An invalid checkpoint is rejected and changes nothing; optimizers are saved without a trainer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import nncore as nc
from nncore import _safetensors

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.standard_normal((12, 3)), RANDOM.standard_normal((12, 2))


def model(seed: int = 0, dtype: str = "float32") -> nc.Model:
    return nc.Sequential(
        nc.Dense(3, 4), nc.BatchNorm(4), nc.Dropout(0.3), nc.Dense(4, 2), seed=seed, dtype=dtype
    )


def trainer(seed: int = 0) -> nc.Trainer:
    optimizer = nc.Adam(1e-2, transforms=[nc.moving_average(0.9)])
    return nc.Trainer(model(seed), "mean_squared_error", optimizer)


class Kept(nc.Callback):
    def state(self) -> dict[str, Any]:
        return {"a": np.ones(3), "b": 1.5}

    def load_state(self, state: Any) -> None:
        pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint after three epochs with every optional part."""
    saved, path = trainer(), tmp_path / "run.safetensors"
    saved.model[0].trainable = False
    saved.model.metadata = {"a": 1}
    saved.model.feature_names = {"input": ["a", "b", "c"]}
    saved.fit(
        X, Y, epochs=3, batch_size=5, validation_data=(X, Y), progress=False,
        callbacks=[Kept(), nc.EarlyStopping(9), nc.Checkpoint(path, None)],
    )  # fmt: skip
    return path


def fields_of(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["nncore"])


def sign(path: Path, fields: dict[str, Any], tensors: dict[str, Any]) -> None:
    """Writes a file with a valid checksum."""
    fields = {**fields, "sha256": _safetensors._digest(fields, tensors)}
    save_file(tensors, path, metadata={"nncore": json.dumps(fields)})


def all_of(trainer: nc.Trainer) -> tuple[Any, ...]:
    """Everything that a checkpoint could change."""
    mine, optimizer = trainer.model, trainer.optimizer
    state = optimizer.state(mine.store)
    return (
        {name: view.tobytes() for name, view in mine.named_arrays().items()},
        {name: view.tobytes() for name, view in state.slots.items()},
        (state.steps, optimizer.settings, trainer.seed, trainer.history.seed, dict(trainer.history)),
        (mine.seed, mine.store.core.random_step, mine.metadata, mine.feature_names, trainer.resumed),
        [layer.trainable for layer in mine],
    )


# Crafted files -------------------------------------------------------------------------------------------


def checkpoint(**changes: Any) -> Callable[[Any, Any], object]:
    return lambda fields, _: fields["checkpoint"].update(changes)


def without(name: str) -> Callable[[Any, Any], object]:
    return lambda fields, _: fields["checkpoint"].pop(name)


def tensor(name: str, value: Any) -> Callable[[Any, Any], object]:
    return lambda _, tensors: tensors.update({name: np.asarray(value)})


def callback(**changes: Any) -> Callable[[Any, Any], object]:
    return lambda fields, _: fields["checkpoint"]["callbacks"][0].update(changes)


CRAFTED: dict[str, Callable[[Any, Any], object]] = {
    "a random step below 0": checkpoint(random_step=-1),
    "a random step of 65 bits": checkpoint(random_step=2**64),
    "a random step that is a word": checkpoint(random_step="1"),
    "a random step that is true": checkpoint(random_step=True),
    "no random step": without("random_step"),
    "a seed that is a float": checkpoint(seed=1.0),
    "no seed": without("seed"),
    "settings that are a list": checkpoint(settings=[]),
    "settings that are words": lambda fields, _: fields["checkpoint"]["settings"].update(beta1="x"),
    "settings out of range": lambda fields, _: fields["checkpoint"]["settings"].update(beta1=1.5),
    "columns that are a word": checkpoint(columns="loss"),
    "columns that are numbers": checkpoint(columns=[1]),
    "a column twice": checkpoint(columns=["loss", "loss"]),
    "a column of integers": tensor("trainer.history.loss", np.arange(3)),
    "a column of two axes": tensor("trainer.history.loss", np.zeros((3, 1))),
    "a column that is shorter": tensor("trainer.history.loss", np.zeros(2)),
    "a column too much": tensor("trainer.history.other", np.zeros(3)),
    "steps below 0": tensor("optimizer.steps", -1),
    "steps that are a float": tensor("optimizer.steps", 1.0),
    "steps that are several": tensor("optimizer.steps", [1, 2]),
    "a slot of another shape": tensor("optimizer.first_moment.0.weight", np.zeros((3, 4), np.float32)),
    "a slot of another dtype": tensor("optimizer.average.3.bias", np.zeros(2)),
    "a slot too much": tensor("optimizer.third_moment.0.bias", np.zeros(4, np.float32)),
    "no slot": lambda _, tensors: tensors.pop("optimizer.average.0.weight"),
    "an array of another shape": tensor("3.bias", np.zeros(3, np.float32)),
    "an array of another dtype": tensor("1.running_mean", np.zeros(4)),
    "an array too much": tensor("4.bias", np.zeros(3, np.float32)),
    "no array": lambda _, tensors: tensors.pop("3.bias"),
    "another dtype": lambda fields, _: fields.update(dtype="float64"),
    "a flag that is a word": lambda fields, _: fields["graph"]["layers"]["0"].update(trainable="no"),
    "metadata that are a list": lambda fields, _: fields.update(metadata=[1]),
    "names of too few columns": lambda fields, _: fields.update(feature_names={"input": ["a"]}),
    "a checkpoint that is a list": lambda fields, _: fields.update(checkpoint=["columns"]),
    "no callbacks": without("callbacks"),
    "callbacks that are a number": checkpoint(callbacks=1),
    "a callback that is a word": checkpoint(callbacks=["EarlyStopping.0"]),
    "a callback without a key": lambda fields, _: fields["checkpoint"]["callbacks"][0].pop("key"),
    "a key that is a list": callback(key=[1]),
    "a state of no kind": callback(state={"set": [1]}),
    "a state of two kinds": callback(state={"array": 0, "float": "nan"}),
    "a state of other arrays": callback(state={"array": 7}),
    "a state with keys that are lists": callback(state={"dict": [[[], 1]]}),
    "a state of pairs of three": callback(state={"dict": [[1, 2, 3]]}),
    "a float of no kind": callback(state={"float": "1e3"}),
    "changes that are numbers": callback(changed=[1]),
    "an array of a callback that is not there": tensor("trainer.callback.9.0", np.zeros(3)),
    "an array without a number": tensor("trainer.callback.0.x", np.zeros(3)),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_checkpoint_changes_nothing(path: Path, name: str) -> None:
    fields, tensors = fields_of(path), load_file(path)
    CRAFTED[name](fields, tensors)
    sign(path, fields, tensors)
    other = trainer(seed=9)
    other.fit(X, Y, epochs=1, progress=False)
    before = all_of(other)
    with pytest.raises(
        ValueError, match=r"^path must be a (compatible file|file with the key .*); got .*run\.safetensors"
    ):
        other.restore(path)
    assert all_of(other) == before


@pytest.mark.parametrize("name", ["best", "waited", "kept"])
def test_a_crafted_state_of_a_callback_is_refused_before_training(path: Path, name: str) -> None:
    fields, tensors = fields_of(path), load_file(path)
    pairs = fields["checkpoint"]["callbacks"][1]["state"]["dict"]
    wrong = {"best": 3, "waited": "many", "kept": {"dict": [["0.weight", {"array": 0}]]}}
    fields["checkpoint"]["callbacks"][1]["state"]["dict"] = [
        [key, wrong[name] if key == name else value] for key, value in pairs
    ]
    sign(path, fields, tensors)
    other = trainer(seed=9)
    other.restore(path)
    before = all_of(other)
    with pytest.raises((TypeError, ValueError)):
        other.fit(X, Y, validation_data=(X, Y), progress=False, callbacks=[nc.EarlyStopping(9)])
    assert all_of(other) == before


# Optimizers without a trainer ----------------------------------------------------------------------------


OPTIMIZERS: dict[str, Callable[[], nc.Optimizer]] = {
    "sgd": lambda: nc.SGD(0.1),
    "momentum": lambda: nc.SGD(0.1, momentum=0.9),
    "adamw": lambda: nc.AdamW(1e-2, weight_decay=0.1, schedule=nc.cosine_decay(10)),
    "averaged": lambda: nc.RMSprop(1e-2, transforms=[nc.clip_by_value(1.0), nc.moving_average(0.9)]),
}


def steps(model: nc.Model, optimizer: nc.Optimizer, count: int) -> None:
    for _ in range(count):
        model.loss_and_gradients(X, Y, "mean_squared_error")
        optimizer.step(model)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_loop_of_ones_own_goes_on_exactly(tmp_path: Path, name: str, dtype: str) -> None:
    path, optimizer, mine = tmp_path / "run", OPTIMIZERS[name](), model(dtype=dtype)
    steps(mine, optimizer, 3)
    optimizer.learning_rate = 0.02
    nc.save(mine, path, metadata={"epoch": 3}, optimizer=optimizer)
    steps(mine, optimizer, 3)
    again, other = nc.load(path), OPTIMIZERS[name]()
    other.restore(path, again)
    assert (again.metadata, other.settings) == ({"epoch": 3}, optimizer.settings)
    steps(again, other, 3)
    assert np.array_equal(again.parameters, mine.parameters)
    slots, wanted = (o.state(m.store).slots for o, m in ((other, again), (optimizer, mine)))
    assert all(np.array_equal(slots[slot], wanted[slot]) for slot in wanted)


def test_the_optimizer_of_a_checkpoint(path: Path) -> None:
    saved = trainer()
    saved.restore(path)
    optimizer, mine = nc.Adam(transforms=[nc.moving_average(0.9)]), nc.load(path)
    optimizer.restore(path, mine)
    assert optimizer.state(mine.store).steps == saved.steps == 9


def test_an_optimizer_for_one_of_two_models_of_a_store(tmp_path: Path) -> None:
    x = nc.Input(3)
    trunk, first, second = nc.Dense(3, 4)(x), nc.Dense(4, 2), nc.Dense(4, 2)
    nc.Model(x, [first(trunk), second(trunk)], seed=0)
    one, optimizer = nc.Model(x, first(trunk)), nc.Adam()
    steps(one, optimizer, 2)
    one.save(tmp_path / "one", optimizer=optimizer)
    loaded, other = nc.load(tmp_path / "one"), nc.Adam()
    other.restore(tmp_path / "one", loaded)
    steps(one, optimizer, 1)
    steps(loaded, other, 1)
    arrays, wanted = loaded.named_parameters(), one.named_parameters()
    assert all(np.array_equal(arrays[name], wanted[name]) for name in wanted)


def wider() -> nc.Model:
    return nc.Sequential(nc.Dense(3, 5), nc.BatchNorm(5), nc.Dropout(0.1), nc.Dense(5, 2))


REFUSED: dict[str, tuple[Callable[[], tuple[nc.Optimizer, nc.Model]], str]] = {
    "another kind": (lambda: (nc.SGD(), model()), "optimizer must be sgd, the program's; got adam"),
    "another model": (lambda: (nc.Adam(), nc.mlp([3, 4, 2])), "slots must be .*2.weight"),
    "other widths": (lambda: (nc.Adam(), wider()), r"must be float32 \(5, 3\), as the program's"),
    "another dtype": (lambda: (nc.Adam(), model(dtype="float64")), "must be float64"),
    "other transforms": (lambda: (nc.Adam(transforms=[nc.moving_average(0.5)]), model()), "average"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_optimizer_is_refused_and_not_changed(tmp_path: Path, name: str) -> None:
    path, saved, mine = tmp_path / "run", nc.Adam(0.5), model()
    steps(mine, saved, 2)
    mine.save(path, optimizer=saved)
    make, message = REFUSED[name]
    optimizer, other = make()
    before = optimizer.settings
    with pytest.raises(ValueError, match=message):
        optimizer.restore(path, other)
    assert optimizer.settings == before
    assert optimizer.state(other.store).steps == other.store.core.random_step == 0
    assert "average" not in optimizer.state(other.store).slots


def test_a_save_before_the_first_step_does_not_start_averages(tmp_path: Path) -> None:
    """Averages start from the parameters before the first step, which may change after the save."""
    run = trainer()
    run.save(tmp_path / "run")
    run.model.save(tmp_path / "model", optimizer=run.optimizer)
    run.model.parameters = np.zeros_like(run.model.parameters)
    run.optimizer.learning_rate = 0.0
    run.step(X, Y)
    assert not run.optimizer.state(run.model.store).slots["average"].any()
    run.restore(tmp_path / "run")
    assert np.array_equal(run.optimizer.state(run.model.store).slots["average"], trainer().model.parameters)


def test_what_is_no_optimizer_or_model_is_named(tmp_path: Path) -> None:
    mine = model()
    for wrong in ("adam", nc.Adam, 3):
        with pytest.raises(TypeError, match="optimizer must be an Optimizer; got"):
            mine.save(tmp_path / "run", optimizer=wrong)  # type: ignore[arg-type]  # the mistake
    assert not list(tmp_path.iterdir())
    with pytest.raises(TypeError, match="model must be a Model; got str"):
        nc.Adam().restore(tmp_path / "run", "model")  # type: ignore[arg-type]  # the mistake


def test_files_that_hold_less_say_so(tmp_path: Path) -> None:
    alone, both = tmp_path / "alone", tmp_path / "both"
    mine = model()
    mine.save(alone)
    mine.save(both, optimizer=nc.Adam())
    with pytest.raises(ValueError, match="must hold an optimizer; got only a model"):
        nc.Adam().restore(alone, mine)
    with pytest.raises(ValueError, match="must hold a trainer; got a model and an optimizer"):
        trainer().restore(both)
    assert list(nc.load(both).named_arrays()) == list(mine.named_arrays())
    nc.load(both).save(both)
    assert both.read_bytes() == alone.read_bytes()
