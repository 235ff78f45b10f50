"""Checkpoints hold the state of callbacks; resumed runs continue exactly; missing state is an error."""

from __future__ import annotations

import collections
import copy
import dataclasses
import itertools
import math
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nncore as nc
from small_trainers import X, fit, make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "last.safetensors"


class Kept(nc.Callback):
    """Saves any value and exposes the restored one."""

    def __init__(self, kept: Any = None) -> None:
        self.kept = kept

    def state(self) -> dict[str, Any]:
        return {"kept": self.kept}

    def load_state(self, state: Any) -> None:
        self.kept = state["kept"]


# Values ------------------------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "nothing": None,
    "numbers": [0, -1, 2**100, 0.1, -0.0, True, False],
    "numbers that are not finite": [math.inf, -math.inf, math.nan],
    "strings": ["", "a.b/c", "\u20ac \U0001f600", "\ud800", "array", "inf"],
    "lists and tuples": [[], (), [1, (2, [3, (4,)])]],
    "dicts": {"a": {"b": {}}, 1: "integer", "1": "string", (1, 2): [None], None: 0},
    "what looks packed": [{"array": 0}, {"float": "nan"}, {"tuple": [1]}, {"dict": []}],
    "arrays": [np.arange(6.0).reshape(2, 3).T, np.array(3), np.zeros((0, 4), np.float32)],
    "arrays of many dtypes": [np.array([1, 0, 1], dtype) for dtype in "?bBhHiIqQefd"],
    "scalars": [np.float32(0.1), np.int8(-3), np.bool_(True), np.float64(math.inf)],
    "arrays within": {"moments": [np.ones(3), {"of": (np.zeros(2),)}], "count": 2},
}


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, (np.ndarray, np.generic)):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(repr(one) == repr(other))


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back_as_they_were(path: Path, name: str) -> None:
    fit(make(), 1, Kept(VALUES[name]), Kept("another"), nc.Checkpoint(path, None))
    again, kept, other = make(), Kept(), Kept()
    again.restore(path)
    fit(again, 1, kept, other)
    assert same(kept.kept, VALUES[name])
    assert other.kept == "another"


def test_a_byte_order_is_no_part_of_a_value(path: Path) -> None:
    fit(make(), 1, Kept(np.arange(3, dtype=">f8")), nc.Checkpoint(path, None))
    again, kept = make(), Kept()
    again.restore(path)
    fit(again, 1, kept)
    assert same(kept.kept, np.arange(3.0))


class Count(int):
    pass


REFUSED: dict[str, tuple[Any, str]] = {
    "an object": (object(), "object"),
    "a set": ([{1}], "set"),
    "bytes": ({"a": b"1"}, "bytes"),
    "a complex number": (1j, "complex"),
    "another kind of integer": (Count(3), "Count"),
    "strings in an array": (np.array(["a"]), "<U1"),
    "objects in an array": (np.array([None]), "object"),
    "dates": (np.array(["2020"], "datetime64[s]"), "datetime64"),
    "a key": ({frozenset(): 1}, "frozenset"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_file_can_hold_is_named(path: Path, name: str) -> None:
    value, shown = REFUSED[name]
    path.write_bytes(b"before")
    with pytest.raises(TypeError, match=rf"state\(\) of Kept must .*got {shown}"):
        fit(make(), 1, Kept(value), nc.Checkpoint(path, None))
    assert path.read_bytes() == b"before"


def test_a_state_that_holds_itself_is_named(path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match=r"state\(\) of Kept must .*; got too many levels"):
        fit(make(), 1, Kept(loop), nc.Checkpoint(path, None))
    assert not path.exists()


def test_saving_twice_gives_equal_bytes(path: Path, tmp_path: Path) -> None:
    """A restored trainer saves the same callback states that its file had."""
    other = tmp_path / "other"
    fit(make(), 3, Kept([1, {"a": np.ones(3)}]), nc.EarlyStopping(2), nc.Checkpoint(path, None), Kept())
    again = make(1)
    again.restore(path)
    again.save(other)
    assert path.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("missing", ["state", "load_state"])
def test_a_class_has_both_methods_or_neither(missing: str) -> None:
    methods = {name: getattr(Kept, name) for name in ("state", "load_state") if name != missing}
    half = type("Half", (nc.Callback,), methods)
    with pytest.raises(TypeError, match=r"both state\(\) and load_state\(\), or neither; got Half"):
        fit(make(), 1, half())


# Callbacks that change but do not save their state -------------------------------------------------------


@dataclasses.dataclass
class Numbers:
    count: int = 0


class Slots(nc.Callback):
    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
        self.count += 1


class Stopping(nc.EarlyStopping):
    """Has more state than its parent class saves."""

    count = 0

    def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
        super().on_epoch_end(trainer, logs)
        self.count += 1


class Wrapped(nc.Callback):
    def __init__(self, inner: nc.Callback) -> None:
        self.inner = inner

    def on_fit_begin(self, trainer: nc.Trainer, logs: Any) -> None:
        self.inner.on_fit_begin(trainer, logs)

    def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
        self.inner.on_epoch_end(trainer, logs)


def changing(value: Any, change: Callable[[Any], object]) -> Callable[[], nc.Callback]:
    class Changing(nc.Callback):
        def __init__(self) -> None:
            self.value = copy.deepcopy(value)

        def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
            change(self)

    return Changing


def add(callback: Any) -> None:
    callback.value += 1


def new_attribute(callback: Any) -> None:
    callback.fresh = 1


CHANGING: dict[str, Callable[[], nc.Callback]] = {
    "a number": changing(0, add),
    "a new attribute": changing(0, new_attribute),
    "a list": changing([], lambda callback: callback.value.append(1)),
    "a dict in a dict": changing({"a": {}}, lambda callback: callback.value["a"].update(b=1)),
    "a set": changing(set(), lambda callback: callback.value.add(1)),
    "a deque": changing(collections.deque(), lambda callback: callback.value.append(1)),
    "an array": changing(np.zeros(3), add),
    "a large array": changing(np.zeros(10**6), add),
    "an object": changing(Numbers(), lambda callback: setattr(callback.value, "count", 1)),
    "an iterator": changing(itertools.count(), lambda callback: next(callback.value)),
    "a generator of random numbers": changing(
        np.random.default_rng(0), lambda callback: callback.value.random()
    ),
    "Python's generator": changing(random.Random(0), lambda callback: callback.value.random()),
    "slots": Slots,
    "a class of the library with more": lambda: Stopping(9),
    "a callback within": lambda: Wrapped(nc.EarlyStopping(9)),
}


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("name", CHANGING)
def test_a_callback_that_changes_without_a_state_is_an_error_that_names_it(
    path: Path, name: str, first: bool
) -> None:
    callback = CHANGING[name]()
    saving = nc.Checkpoint(path, None)
    fit(make(), 3, *((callback, saving) if first else (saving, callback)))
    again, other = make(1), CHANGING[name]()
    again.restore(path)
    before = again.model.parameters.copy()
    with pytest.raises(ValueError, match=rf"must have state\(\) .*; got {type(callback).__name__}, which"):
        fit(again, 1, other)
    assert np.array_equal(again.model.parameters, before)
    assert again.history.epochs == 3
    fit(again, 1)  # without the callback
    assert again.history.epochs == 4


class Quiet(nc.Callback):
    """Holds objects, but no state that training changes."""

    def __init__(self, model: nc.Model) -> None:
        self.model, self.data, self.options = model, X, {"a": [1]}
        self.lock, self.function = threading.Lock(), lambda: None
        self.log = Path("/dev/null").open("w")  # noqa: SIM115  # open as long as the callback, as users have it
        self.started = 0.0

    def on_fit_begin(self, trainer: nc.Trainer, logs: Any) -> None:
        self.trainer, self.started = trainer, time.perf_counter()

    def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
        self.log.write(f"{self.started} {len(self.options)}")

    def __del__(self) -> None:
        self.log.close()


def test_a_callback_that_learns_nothing_needs_no_state(path: Path) -> None:
    trainer = make()
    callback = Quiet(trainer.model)
    for _ in range(2):  # the second fit resets the time
        fit(trainer, 2, callback, nc.Checkpoint(path, None))
    again = make()
    again.restore(path)
    fit(again, 2, Quiet(again.model))
    assert again.history.epochs == 6


@pytest.mark.parametrize("first", [False, True])
def test_what_an_earlier_fit_changed_counts(path: Path, first: bool) -> None:
    counter, saving, trainer = CHANGING["a number"](), nc.Checkpoint(path, None), make()
    fit(trainer, 2, counter)
    fit(trainer, 1, *((counter, saving) if first else (saving, counter)))
    trainer.restore(path)
    with pytest.raises(ValueError, match=r"got Changing, which changes \(value\)"):
        fit(trainer, 1, CHANGING["a number"]())


def test_other_arguments_are_no_change(path: Path) -> None:
    class Until(nc.Callback):
        def __init__(self, epoch: int) -> None:
            self.epoch = epoch

        def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
            if trainer.history.epochs == self.epoch:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(make(), 5, nc.Checkpoint(path, None), Until(2))
    again = make()
    again.restore(path)
    fit(again, 3, nc.Checkpoint(path, None), Until(99))
    assert again.history.epochs == 5


# A run continues exactly, wherever in the list the saving callback is -----------------------------------


class Rate(nc.Callback):
    """Counts successive epochs in which the loss fell, and lowers the learning rate after three."""

    def __init__(self) -> None:
        self.falls, self.last = 0, math.inf

    def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
        self.falls = self.falls + 1 if logs["loss"] < self.last else 0
        self.last = logs["loss"]
        if self.falls == 3:
            trainer.optimizer.learning_rate *= 0.7
            self.falls = 0

    def state(self) -> dict[str, Any]:
        return vars(self)

    def load_state(self, state: Any) -> None:
        vars(self).update(state)


class Patience(nc.Callback):
    """Ends the fit."""

    def __init__(self) -> None:
        self.epochs = 0

    def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
        self.epochs += 1
        if self.epochs == 9:
            trainer.stop()

    def state(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state(self, state: Any) -> None:
        self.epochs = state["epochs"]


class Kill(nc.Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
        if trainer.history.epochs == self.epoch:
            raise KeyboardInterrupt


def end(trainer: nc.Trainer, folder: Path) -> tuple[Any, ...]:
    """Everything that a run leaves."""
    rows = [trainer.history[column] for column in trainer.history if column != "seconds"]
    return (
        trainer.history.epochs,
        trainer.model.parameters.tobytes(),
        nc.load(folder / "best").parameters.tobytes(),
        trainer.optimizer.learning_rate,
        rows,
    )


@pytest.mark.parametrize(("limit", "place"), [*((12, place) for place in range(5)), (7, 0), (7, 4)])
def test_a_run_goes_on_exactly_wherever_the_file_was_written(tmp_path: Path, limit: int, place: int) -> None:
    def callbacks(folder: Path) -> list[nc.Callback]:
        folder.mkdir(exist_ok=True)
        found = [Rate(), nc.EarlyStopping(4), Patience(), nc.Checkpoint(folder / "best")]
        return [*found[:place], nc.Checkpoint(folder / "last", None), *found[place:]]

    whole = make()
    fit(whole, limit, *callbacks(tmp_path / "whole"))
    expected = end(whole, tmp_path / "whole")
    for epoch in range(1, expected[0] + 1):
        folder = tmp_path / str(epoch)
        for stop in (epoch, 99):  # interrupted after `epoch` epochs, then resumed
            trainer = make()
            if (folder / "last").exists():
                trainer.restore(folder / "last")
            try:
                fit(trainer, limit - trainer.history.epochs, *callbacks(folder), Kill(stop))
            except KeyboardInterrupt:
                continue
        assert end(trainer, folder) == expected


def test_the_file_of_a_thread_is_of_a_moment_between_epochs(tmp_path: Path) -> None:
    """However slow the callbacks are, the file holds the states of all of them after the same epoch."""

    class Slow(Kept):
        def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
            self.kept = [trainer.history.epochs, self.kept[1]]
            time.sleep(0.002)
            self.kept = [self.kept[0], trainer.history.epochs]

    trainer, path = make(), tmp_path / "file"
    thread = threading.Thread(target=lambda: fit(trainer, 40, Slow([0, 0]), Slow([0, 0])))
    thread.start()
    saves = 0
    while thread.is_alive():
        trainer.save(path)
        saves += 1
        again = make()
        again.restore(path)
        for saved in (again.resumed or {}).values():
            assert saved.state == {"kept": [again.history.epochs] * 2}
            assert saved.called
    thread.join()
    assert saves > 3


@pytest.mark.parametrize("own_thread", [False, True])
def test_a_save_while_a_fit_ends_is_of_the_fit_only_to_other_threads(path: Path, own_thread: bool) -> None:
    """In on_fit_end, a save from another thread belongs to the fit; one from the callback does not."""

    class Last(nc.Callback):
        def on_fit_end(self, trainer: nc.Trainer, logs: Any) -> None:
            if own_thread:
                trainer.save(path)
            else:
                thread = threading.Thread(target=trainer.save, args=(path,))
                thread.start()
                thread.join()

    fit(make(), 2, Kept(7), Last())
    again, kept = make(), Kept()
    again.restore(path)
    fit(again, 1, kept)
    assert kept.kept == (None if own_thread else 7)


def test_no_epochs_are_enough_for_a_fit_that_goes_on_only(path: Path) -> None:
    """A run killed after its last epoch, when resumed, completes the pending callbacks."""
    stopping, trainer = nc.EarlyStopping(9), make()
    trainer.optimizer.learning_rate = 0.5
    fit(trainer, 5, nc.Checkpoint(path, None), stopping)
    again, other = make(), nc.EarlyStopping(9)
    with pytest.raises(ValueError, match="epochs must be at least 1; got 0"):
        fit(again, 0)
    again.restore(path)
    with pytest.raises(ValueError, match="epochs must be at least 0; got -1"):
        fit(again, -1, nc.Checkpoint(path, None), other)
    fit(again, 0, nc.Checkpoint(path, None), other)
    assert (again.history.epochs, other.best_epoch) == (5, stopping.best_epoch)
    assert np.array_equal(again.model.parameters, trainer.model.parameters)


def test_a_new_callback_begins_anew(path: Path) -> None:
    fit(make(), 3, nc.Checkpoint(path, None))
    again, kept = make(), Kept("mine")
    again.restore(path)
    fit(again, 1, nc.Checkpoint(path, None), kept)
    assert kept.kept == "mine"


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        (nc.EarlyStopping(3), nc.EarlyStopping(3, "loss"), "monitor and mode must be 'val_loss' and 'min'"),
        (nc.EarlyStopping(3), nc.EarlyStopping(3, mode="max"), "got 'val_loss' and 'max'"),
        (nc.Checkpoint("x"), nc.Checkpoint("x", None), "monitor must be 'val_loss'.*got None"),
        (nc.Checkpoint("x", None), nc.Checkpoint("x"), "monitor must be None.*got 'val_loss'"),
    ],
)
def test_other_monitors_are_an_error(path: Path, monkeypatch: Any, was: Any, now: Any, message: str) -> None:
    monkeypatch.chdir(path.parent)
    trainer = make()
    fit(trainer, 1, was, Saving(path))
    again = make()
    again.restore(path)
    with pytest.raises(ValueError, match=message):
        fit(again, 1, now)


class Saving(nc.Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
        trainer.save(self.path)
