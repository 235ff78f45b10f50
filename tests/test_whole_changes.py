"""Changes of several objects are made completely or not at all, wherever Ctrl-C comes."""

import gc
import itertools
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import nncore as nc

#: The files that change objects, whose lines are interrupted.
FILES = ("parameter_store.py", "model.py", "graph.py", "checkpoint.py", "history.py", "base.py", "pairing.py")


Call = Callable[[], object]


def outcomes(prepare: Call, change: Call, look: Callable[[], Any]) -> list[Any]:
    """The results of look() after a KeyboardInterrupt before each line of change(), and after none."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        if frame.f_code.co_filename.endswith(FILES) and "nncore" in frame.f_code.co_filename:
            lines -= event == "line"
            if lines < 0:
                raise KeyboardInterrupt
        return trace

    seen = []
    for most in itertools.count():
        prepare()
        lines = most
        sys.settrace(trace)
        try:
            change()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        seen.append(look())
        if lines > 0:  # change() had fewer lines
            assert most > 3
            return seen
    raise AssertionError("no end")


def check(prepare: Call, change: Call, look: Callable[[], Any]) -> None:
    prepare()
    before = look()
    change()
    after = look()
    assert before != after
    seen = outcomes(prepare, change, look)
    assert all(one in (before, after) for one in seen)
    assert seen[0] == before
    assert seen[-1] == after


def make_model(seed: int = 0, dtype: str = "float32") -> nc.Model:
    return nc.Sequential([nc.Dense(3, 4), nc.BatchNorm(4), nc.Dense(4, 2)], seed=seed, dtype=dtype)


def bytes_of(model: nc.Model) -> dict[str, bytes]:
    return {name: view.tobytes() for name, view in model.named_arrays().items()}


def test_best_weights_that_are_put_back() -> None:
    model = make_model()
    before = {name: view.copy() for name, view in model.named_arrays().items()}
    after = {name: array + 1 for name, array in before.items()}

    def put(arrays: dict[str, Any]) -> None:
        model.store.replace(arrays, model.segments, model.names)

    check(lambda: put(before), lambda: put(after), lambda: bytes_of(model))


@pytest.mark.parametrize("dtype", ["float32", "float64"])  # for the same dtype it is one call of the core
def test_copies_and_soft_updates(dtype: str) -> None:
    model, first, second = make_model(), make_model(1), make_model(2, dtype)
    second[1].running_mean += 1
    check(lambda: model.copy_from(first), lambda: model.copy_from(second), lambda: bytes_of(model))


def test_soft_updates_of_a_part() -> None:
    whole, other = make_model(), make_model(3)
    part = nc.Sequential(whole[0], whole[2])
    others = nc.Sequential(other[0], other[2])
    start = make_model(4)
    check(lambda: whole.copy_from(start), lambda: part.soft_update(others, 0.25), lambda: bytes_of(whole))


@pytest.mark.parametrize("whole", [True, False])
def test_which_parameters_are_trained(whole: bool) -> None:
    model = make_model()
    target = model if whole else model[0]

    def flags() -> list[bool]:
        return [segment.trainable for segment in model.store.core.segments] + [
            layer.trainable for layer in model.layers
        ]

    def set_to(trainable: bool) -> None:
        target.trainable = trainable

    check(lambda: set_to(True), lambda: set_to(False), flags)


def test_a_restored_trainer(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(12, 3)), [0, 1] * 6
    trainer = nc.Trainer(make_model(), "softmax_cross_entropy", nc.Adam(0.01))
    other = nc.Trainer(make_model(5), "softmax_cross_entropy", nc.Adam(0.02), seed=9)
    trainer.fit(x, y, epochs=2, progress=False)
    other.fit(x, y, epochs=3, progress=False)
    other.model.metadata = {"name": "other"}
    other.model.feature_names = {"input": ["a", "b", "c"]}
    other.model[0].trainable = False
    for one, name in ((trainer, "first"), (other, "second")):
        one.save(tmp_path / name)

    def look() -> list[Any]:
        model, state = trainer.model, trainer.optimizer.state(trainer.model.store)
        slots = {name: slot.tobytes() for name, slot in state.slots.items()}
        core = model.store.core
        return [
            *(bytes_of(model), slots, state.steps, dict(trainer.history), trainer.history.seed, trainer.seed),
            *(trainer.optimizer.settings, core.seed, core.random_step, model.metadata, model.feature_names),
            [layer.trainable for layer in model.layers],
        ]

    check(lambda: trainer.restore(tmp_path / "first"), lambda: trainer.restore(tmp_path / "second"), look)


class AlarmError(Exception):
    """Raised by the signal handler."""


def test_a_gradient_check_puts_everything_back() -> None:
    """Uses real signals, which may also come while the check restores values."""

    def stop(*_: object) -> None:
        raise AlarmError

    model = make_model(dtype="float64")
    x, y = np.random.default_rng(0).normal(size=(5, 3)), [0, 1, 1, 0, 1]
    model.loss_and_gradients(x, y, "softmax_cross_entropy")
    before, random_step = bytes_of(model), model.store.core.random_step
    random = np.random.default_rng(1)
    old = signal.signal(signal.SIGALRM, stop)
    ended = 0
    gc.disable()  # an error raised in a callback of the collector would not reach this function
    try:
        for _ in range(60):
            signal.setitimer(signal.ITIMER_REAL, 1e-4 + 0.02 * random.random())
            try:
                nc.check_gradients(model, x, y, "softmax_cross_entropy", training=True)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except AlarmError:
                ended += 1
            assert bytes_of(model) == before
            assert model.store.core.random_step == random_step
    finally:
        gc.enable()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert ended > 0
