"""Best weights return however a fit ends, runs resume, and saving during a fit writes complete files."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nncore as nc
from nncore import _core

RANDOM = np.random.default_rng(0)
X, XV = RANDOM.standard_normal((60, 4)), RANDOM.standard_normal((60, 4))
Y, YV = X[:, 0] + RANDOM.standard_normal(60), XV[:, 0] + RANDOM.standard_normal(60)


def make(optimizer: Any = None) -> nc.Trainer:
    model = nc.mlp([4, 64, 1], seed=0)
    return nc.Trainer(model, "mean_squared_error", optimizer or nc.Adam(1e-2))


def fit(trainer: nc.Trainer, epochs: int, *callbacks: nc.Callback) -> None:
    trainer.fit(X, Y, epochs=epochs, validation_data=(XV, YV), progress=False, callbacks=callbacks)


class After(nc.Callback):
    """Does something after one epoch."""

    def __init__(self, epoch: int, action: Callable[[nc.Trainer], object]) -> None:
        self.epoch, self.action = epoch, action

    def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
        if trainer.history.epochs == self.epoch:
            self.action(trainer)


class Rates(nc.Callback):
    """Raises the learning rate after some epoch, so that the loss grows."""

    def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
        if trainer.history.epochs == 6:
            trainer.optimizer.learning_rate = 0.5


def raise_(error: BaseException) -> Callable[[nc.Trainer], None]:
    def action(_: nc.Trainer) -> None:
        raise error

    return action


def diverge(trainer: nc.Trainer) -> None:
    trainer.optimizer.learning_rate = 1e39


def interrupt(_: nc.Trainer) -> None:
    signal.raise_signal(signal.SIGINT)


# However a fit ends --------------------------------------------------------------------------------------

ENDINGS: dict[str, tuple[nc.Callback, type[BaseException] | None]] = {
    "the last epoch": (nc.Callback(), None),
    "stop": (After(9, lambda trainer: trainer.stop()), None),
    "Ctrl-C between epochs": (After(9, raise_(KeyboardInterrupt())), KeyboardInterrupt),
    "Ctrl-C as a signal": (After(9, interrupt), KeyboardInterrupt),
    "divergence": (After(9, diverge), FloatingPointError),
    "an error of a callback": (After(9, raise_(OSError("disk full"))), OSError),
    "SystemExit": (After(9, raise_(SystemExit())), SystemExit),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_best_weights_come_back(ending: str) -> None:
    callback, error = ENDINGS[ending]
    trainer = make()
    callbacks = [nc.EarlyStopping(50), Rates(), callback]
    if error is None:
        fit(trainer, 12, *callbacks)
    else:
        with pytest.raises(error):
            fit(trainer, 12, *callbacks)
    best = min(trainer.history["val_loss"])
    assert best < trainer.history["val_loss"][-1]
    assert trainer.evaluate(XV, YV)["loss"] == pytest.approx(best, rel=1e-6)


def test_they_come_back_from_within_an_epoch() -> None:
    """The best epoch is the last complete one; the next is interrupted."""
    calls: list[int] = []
    best: list[Any] = []

    def loss(output: Any, y: Any) -> tuple[float, Any]:
        if trainer.history.epochs == 3:
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
        return float(((output - y) ** 2).mean()), 2 * (output - y) / output.size

    trainer = nc.Trainer(nc.mlp([4, 64, 1], seed=0), loss, nc.SGD(0.05))
    keep = After(3, lambda trainer: best.append(trainer.model.parameters.copy()))
    with pytest.raises(KeyboardInterrupt):
        fit(trainer, 5, nc.EarlyStopping(9, "loss"), keep)
    assert len(calls) == 2
    assert np.array_equal(trainer.model.parameters, best[0])


def test_an_interrupt_at_any_line_leaves_all_of_them_or_none() -> None:
    def fit_until(line: int) -> int:
        """Raises KeyboardInterrupt at a line of EarlyStopping's on_fit_end; returns the number of lines."""
        lines = 0
        kept: list[Any] = []

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal lines
            lines += event == "line"
            if lines == line:
                sys.settrace(None)
                raise KeyboardInterrupt
            return trace

        class Interrupted(nc.EarlyStopping):
            def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
                super().on_epoch_end(trainer, logs)
                kept.append(trainer.model.parameters.copy())
                trainer.optimizer.learning_rate = 0.5  # makes the first epoch the best

            def on_fit_end(self, trainer: nc.Trainer, logs: Any) -> None:
                gc.disable()  # callbacks of the collector would add lines
                sys.settrace(trace)
                try:
                    super().on_fit_end(trainer, logs)
                finally:
                    sys.settrace(None)
                    gc.enable()

        trainer = nc.Trainer(nc.mlp([4, 8, 8, 1], seed=0), "mean_squared_error")
        with contextlib.suppress(KeyboardInterrupt):
            fit(trainer, 3, Interrupted(9))
        is_best, is_last = (np.array_equal(trainer.model.parameters, kept[epoch]) for epoch in (0, 2))
        assert is_best != is_last, line
        assert is_best or lines == line
        return lines

    line = 1
    while fit_until(line) == line:
        line += 1
    assert line > 8


def test_on_fit_end_is_called_once_for_all_who_began() -> None:
    calls: list[str] = []

    class Noted(nc.Callback):
        def __init__(self, name: str, fails: str = "") -> None:
            self.name, self.fails = name, fails

        def on_fit_begin(self, trainer: nc.Trainer, logs: Any) -> None:
            self.note("begin")

        def on_fit_end(self, trainer: nc.Trainer, logs: Any) -> None:
            self.note("end")

        def note(self, what: str) -> None:
            calls.append(f"{self.name} {what}")
            if self.fails == what:
                raise OSError(f"{what} fails")

    fit(make(), 1, Noted("a"), Noted("b"))
    assert calls == ["a begin", "b begin", "a end", "b end"]
    calls.clear()
    with pytest.raises(OSError, match="end fails"):
        fit(make(), 1, Noted("a", "end"), Noted("b"))
    assert calls == ["a begin", "b begin", "a end", "b end"]
    calls.clear()
    with pytest.raises(OSError, match="begin fails"):
        fit(make(), 1, Noted("a"), Noted("b", "begin"), Noted("c"))
    assert calls == ["a begin", "b begin", "a end", "b end"]


# Resumed runs --------------------------------------------------------------------------------------------


def run(folder: Path, name: str, interrupt_after: int | None, order: int) -> tuple[Any, ...]:
    """A run of many epochs, uninterrupted or resumed by another trainer."""
    best, last = folder / f"{name}_best", folder / f"{name}_last"

    def callbacks() -> list[nc.Callback]:
        found: list[nc.Callback] = [
            nc.EarlyStopping(10),
            nc.Checkpoint(best),
            nc.Checkpoint(last, monitor=None),
        ]
        return found[order:] + found[:order]

    trainer = make()
    if interrupt_after is None:
        fit(trainer, 200, *callbacks())
    else:
        with pytest.raises(KeyboardInterrupt):
            fit(trainer, 200, *callbacks(), After(interrupt_after, raise_(KeyboardInterrupt())))
        trainer = make()
        trainer.restore(last)
        fit(trainer, 200 - trainer.history.epochs, *callbacks())
    return trainer.history.epochs, trainer.model.parameters.tobytes(), nc.load(best).parameters.tobytes()


@pytest.mark.parametrize("order", [0, 1, 2])
def test_an_interrupted_and_resumed_run_is_an_uninterrupted_one(order: int, tmp_path: Path) -> None:
    whole = run(tmp_path, "whole", None, order)
    stop = whole[0]
    assert 11 < stop < 200
    for interrupted in (1, stop - 11, stop - 10, stop - 3, stop - 1, stop):
        epochs, *rest = run(tmp_path, f"after_{interrupted}", interrupted, order)
        assert rest == list(whole[1:]), interrupted
        assert epochs == stop


def test_a_resumed_run_may_bring_other_callbacks(tmp_path: Path) -> None:
    """An earlier best file stays; a new EarlyStopping looks for its own best epoch."""
    trainer = make()
    fit(trainer, 8, Rates(), nc.Checkpoint(tmp_path / "best"), nc.Checkpoint(tmp_path / "last", None))
    best = nc.load(tmp_path / "best").parameters
    again = make(nc.Adam(0.5))
    again.restore(tmp_path / "last")
    fit(again, 3, nc.EarlyStopping(5), nc.Checkpoint(tmp_path / "best"))
    assert np.array_equal(nc.load(tmp_path / "best").parameters, best)
    assert again.history.epochs == 11
    recent = min(again.history["val_loss"][8:])
    assert again.evaluate(XV, YV)["loss"] == pytest.approx(recent, rel=1e-6)


def test_only_the_first_fit_after_a_restore_goes_on(tmp_path: Path) -> None:
    trainer, path = make(), tmp_path / "file"
    seen: list[int] = []

    class Resumed(nc.Callback):
        def state(self) -> dict[str, Any]:
            return {"epochs": trainer.history.epochs}

        def load_state(self, state: Any) -> None:
            seen.append(state["epochs"])

    fit(trainer, 3, Resumed(), nc.Checkpoint(path, None))
    trainer.restore(path)
    with pytest.raises(ValueError, match="y must have 60 samples, like x; got 3"):
        trainer.fit(X, Y[:3], progress=False, callbacks=[Resumed()])
    with pytest.raises(ValueError, match="monitor must be one of"):
        fit(trainer, 1, nc.EarlyStopping(3, "no_loss"), Resumed())
    fit(trainer, 1, Resumed())
    fit(trainer, 1, Resumed())
    trainer.save(path)  # outside a fit
    trainer.restore(path)
    fit(trainer, 1, Resumed())
    assert seen == [3]


def test_callbacks_keep_arrays_in_checkpoints(tmp_path: Path) -> None:
    class Counter(nc.Callback):
        def __init__(self) -> None:
            self.count = 0

        def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
            self.count += 1

        def state(self) -> dict[str, Any]:
            return {"a.count": np.array(self.count)}

        def load_state(self, state: Any) -> None:
            self.count = int(state["a.count"])

    path = tmp_path / "file"
    fit(make(), 3, Counter(), Counter(), nc.Checkpoint(path, None))
    assert nc.load(path).parameters.size == make().model.parameters.size
    again, counters = make(), [Counter(), Counter()]
    again.restore(path)
    fit(again, 2, *counters)
    assert [counter.count for counter in counters] == [5, 5]


# Saving during a fit -------------------------------------------------------------------------------------


@pytest.fixture
def beside() -> Iterator[Callable[[Callable[[], object]], threading.Thread]]:
    """Runs a function in a thread; its exception fails the test."""
    errors: list[BaseException] = []
    threads: list[threading.Thread] = []

    def start(action: Callable[[], object]) -> threading.Thread:
        def guarded() -> None:
            try:
                action()
            except BaseException as error:
                errors.append(error)

        threads.append(threading.Thread(target=guarded))
        threads[-1].start()
        return threads[-1]

    yield start
    for thread in threads:
        thread.join()
    assert not errors


WIDE = 600


def wide() -> nc.Trainer:
    """A trainer whose weights are all equal after a complete step."""
    layer = nc.Dense(WIDE, WIDE, weight_initializer=nc.Constant(1e-4))
    return nc.Trainer(nc.Sequential(layer, seed=0), "half_squared_error", nc.Adam(1e-5))


def test_an_autosave_thread_writes_whole_files(beside: Any, tmp_path: Path) -> None:
    trainer, path = wide(), tmp_path / "autosave"
    x = np.ones((64, WIDE), np.float32)
    thread = beside(lambda: trainer.fit(x, x, epochs=150, progress=False))
    saves = 0
    while thread.is_alive():
        trainer.save(path)
        saves += 1
        restored = wide()
        restored.restore(path)
        steps = restored.optimizer.state(restored.model.store).steps
        assert len(np.unique(restored.model[0].weight)) == 1
        assert steps == 2 * restored.history.epochs
    assert saves > 3
    assert trainer.history.epochs == 150


def test_a_model_that_is_trained_is_not_copied(beside: Any, tmp_path: Path) -> None:
    """Copying raises RuntimeError within an epoch and gives a consistent model between epochs."""
    trainer, path = wide(), tmp_path / "model"
    trainer.model.save(path)
    x = np.ones((64, WIDE), np.float32)
    copies: list[Callable[[], nc.Model | None]] = [
        lambda: trainer.model.save(path),
        lambda: pickle.loads(pickle.dumps(trainer.model)),
        lambda: copy.deepcopy(trainer.model),
        trainer.model.copy,
    ]
    thread = beside(lambda: trainer.fit(x, x, epochs=100, progress=False))
    refused = 0
    while thread.is_alive():
        for make_copy in copies:
            model = None
            with contextlib.suppress(RuntimeError):
                model = make_copy() or nc.load(path)
            refused += model is None
            assert len(np.unique((model or nc.load(path))[0].weight)) == 1
    assert refused > 0
    assert trainer.history.epochs == 100


def test_nothing_is_written_to_a_model_that_is_trained(tmp_path: Path) -> None:
    """Writes from within a step, when the store is certainly in use."""
    trainer, other = make(), make()
    path = tmp_path / "file"
    trainer.model.parameters = np.full_like(trainer.model.parameters, 0.5)  # differs from the other trainers
    trainer.save(path)
    weight = np.zeros((64, 4), np.float32)
    renamed = nc.Sequential(nc.Dense(4, 64, name="a"), nc.ReLU(), nc.Dense(64, 1, name="b"), seed=1)
    actions: list[Callable[[nc.Model], object]] = [
        lambda model: setattr(model, "parameters", np.zeros_like(model.parameters)),
        lambda model: setattr(model, "gradients", np.zeros_like(model.gradients)),
        lambda model: setattr(model[0], "weight", weight),
        lambda model: setattr(model[0], "bias", weight[:, 0]),
        lambda model: model.copy_from(other.model),
        lambda model: model.copy_from(renamed),
        lambda model: model.soft_update(renamed, 0.5),
        lambda model: renamed.copy_from(model),
        lambda model: busy.restore(path),
        lambda model: busy.save(path),
        lambda model: model.save(path),
        pickle.dumps,
        lambda model: model.copy(),
    ]
    before = path.read_bytes()
    tried = []

    def loss(output: Any, y: Any) -> tuple[float, Any]:
        for action in actions:
            values, gradients = busy.model.parameters.copy(), busy.model.gradients.copy()
            with pytest.raises(RuntimeError, match=r"by another call|another call is using|within an epoch"):
                action(busy.model)
            assert np.array_equal(busy.model.parameters, values)
            assert np.array_equal(busy.model.gradients, gradients)
            tried.append(action)
        return 1.0, np.zeros_like(output)

    busy = nc.Trainer(nc.mlp([4, 64, 1], seed=0), loss, nc.Adam(1e-2))
    busy.step(X, Y)
    busy.fit(X, Y, batch_size=60, progress=False)
    assert len(tried) == 2 * len(actions)
    assert path.read_bytes() == before


def test_a_trainer_is_saved_and_restored_between_epochs_only(tmp_path: Path) -> None:
    path, errors = tmp_path / "file", []

    def metric(y_true: Any, y_pred: Any) -> float:
        for action in (trainer.save, trainer.restore):
            with pytest.raises(RuntimeError, match="within an epoch"):
                action(path)
            errors.append(action)
        return 0.0

    trainer = make()
    trainer.save(path)
    trainer = nc.Trainer(trainer.model, "mean_squared_error", nc.Adam(1e-2), metrics=[metric])
    rolled_back = After(2, lambda trainer: trainer.restore(path))
    trainer.fit(X, Y, epochs=2, progress=False, callbacks=[rolled_back, nc.Checkpoint(path, "loss")])
    assert len(errors) == 4


def test_a_copy_keeps_writers_waiting_and_not_each_other(beside: Any) -> None:
    store = make().model.store.core
    order: list[str] = []
    with store.copying(), store.copying():
        thread = beside(lambda: (store.initialize(1), order.append("written")))
        for _ in range(5):
            thread.join(0.01)
            order.append("copied")
    thread.join()
    assert order == ["copied"] * 5 + ["written"]
    with store.changing():
        for refused in (store.changing, store.copying):
            with pytest.raises(RuntimeError, match="by another call"), refused():
                pass
    guard = store.copying()
    with guard, pytest.raises(RuntimeError, match="already been entered"):
        guard.__enter__()
    store.initialize(2)
    assert isinstance(guard, _core.StoreGuard)
