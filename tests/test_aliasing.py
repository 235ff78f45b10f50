"""Checked data are the data that is read: arrays that change during a call, plans of other networks,
uninitialized objects, and return values of Python functions.
"""

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from nncore import _core
from nncore import functional as F
from small_networks import CROSS_ENTROPY, DTYPES, chain, draw, snapshot, train_epoch, train_step, unchanged

# Arrays in the store ------------------------------------------------------------------------------------


@pytest.mark.parametrize("array", ["values", "gradients"])
def test_rows_that_lie_in_the_store_are_read_before_it_changes(array: str) -> None:
    model, expected = (chain([2, 2, 2], np.float64) for _ in range(2))
    x, y = draw(5, 2, dtype=np.float64), draw(5, 2, seed=1, dtype=np.float64)
    for each in (model, expected):
        getattr(each.store, array)[:] = 0  # read as int64: row 0, once for each parameter
    rows = getattr(model.store, array).view(np.int64)
    count = len(rows)
    train_epoch(model, x, y, batch_size=1, rows=rows)
    train_epoch(expected, x, y, batch_size=1, rows=np.zeros(count, np.int64))
    assert snapshot(model) == snapshot(expected)


def test_rows_that_change_meanwhile_do_not_matter() -> None:
    model, expected = chain([3, 2]), chain([3, 2])
    x, y = draw(6, 3), draw(6, 2, seed=1)
    rows = np.array([5, 1, 0, 2], np.int64)

    def spoil(steps: int, loss: float) -> None:
        rows[:] = 2**40

    train_epoch(model, x, y, batch_size=1, rows=rows, tick=spoil)
    train_epoch(expected, x, y, batch_size=1, rows=np.array([5, 1, 0, 2], np.int64))
    assert snapshot(model) == snapshot(expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("array", ["values", "gradients"])
def test_samples_that_lie_in_the_store_are_refused(array: str, dtype: DTypeLike) -> None:
    model = chain([2, 2], dtype)
    labelled = chain([2, 2], dtype, CROSS_ENTROPY)
    x, y = draw(2, 2, dtype=dtype), draw(2, 2, seed=1, dtype=dtype)
    for each in (model, labelled):
        memory = getattr(each.store, array)
        memory[:] = 0
        inside = memory[:4].reshape(2, 2)
        labels = memory.view(np.int32 if dtype == np.float32 else np.int64)[:2]
        target = labels if each is labelled else inside
        with unchanged(each):
            for call in (train_step, train_epoch):
                with pytest.raises(ValueError, match=r"^x must not share memory with the model's"):
                    call(each, inside, np.array([0, 1]) if each is labelled else y)
                with pytest.raises(ValueError, match=r"^y must not share memory with the model's"):
                    call(each, x, target)
                with pytest.raises(ValueError, match=r"^sample_weight must not share memory with"):
                    call(each, x, np.array([0, 1]) if each is labelled else y, sample_weight=memory[:2])


# Labels and indices that change ---------------------------------------------------------------------------


def test_labels_that_change_between_steps_are_refused() -> None:
    model = chain([3, 2], terms=CROSS_ENTROPY)
    x, y = draw(64, 3), np.zeros(64, np.int64)

    def spoil(steps: int, loss: float) -> None:
        y[:] = 2**40

    with pytest.raises(ValueError, match="y must not change while a call reads it"):
        train_epoch(model, x, y, batch_size=1, tick=spoil)
    assert model.state.steps >= 1
    assert np.all(np.isfinite(model.store.values))


@pytest.mark.parametrize("bad", [7, -1, 2**62])
def test_integer_inputs_that_change_between_steps_are_refused(bad: int) -> None:
    store = _core.Parameters_float32([_core.Segment("t", (7, 2), layout="rows")])
    sizes = {"num_embeddings": 7, "embedding_dim": 2}
    nodes = [
        _core.Node.input("x", 1, True),
        _core.Node.make("embedding", "e", [0], [0], attributes=sizes),
    ]
    network = _core.Network_float32(_core.Graph(nodes, [1]), store)
    optimizer = _core.Optimizer("sgd")
    state = _core.OptimizerState_float32(optimizer, store)
    x, y = np.zeros((64, 1), np.int64), draw(64, 2)
    plan = network.plan([(_core.Loss("half_squared_error"), 0, 1.0)])

    def spoil(steps: int, loss: float) -> None:
        x[:] = bad

    with pytest.raises(ValueError, match="x must not change while a call reads it"):
        network.train_epoch(plan, x, y, 1, optimizer, state, tick=spoil)


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_labels_of_a_function_may_change_in_another_thread(dtype: DTypeLike) -> None:
    prediction, labels = draw(50_000, 4), np.zeros(50_000, dtype)
    stop = threading.Event()

    def spoil() -> None:
        while not stop.is_set():
            labels[:] = 2**30
            labels[:] = 1

    thread = threading.Thread(target=spoil)
    thread.start()
    outcomes, messages = set(), set()
    try:
        for _ in range(200):
            try:
                value, gradient = F.softmax_cross_entropy_and_gradient(prediction, labels)
                outcomes.add(bool(np.isfinite(value) and np.isfinite(gradient).all()))
            except ValueError as error:
                messages.add(str(error))
    finally:
        stop.set()
        thread.join()
    assert outcomes <= {True}
    assert all("label 1073741824 in row" in message for message in messages)


# Plans ----------------------------------------------------------------------------------------------------


def calls_with(model: SimpleNamespace, objective: _core.Objective) -> Iterator[Callable[[], object]]:
    """Every method of the model's network that takes an objective."""
    network, optimizer, state = model.network, model.optimizer, model.state
    x, y = (draw(4, 3, seed=seed, dtype=model.store.values.dtype) for seed in (0, 1))
    yield lambda: network.loss(objective, x, y)
    yield lambda: network.loss_and_gradients(objective, x, y)
    yield lambda: network.train_step(objective, x, y, optimizer, state)
    yield lambda: network.train_epoch(objective, x, y, 2, optimizer, state)


def test_a_plan_belongs_to_one_network_of_one_precision() -> None:
    models = [chain([3, 3], dtype) for dtype in (*DTYPES, *DTYPES)]
    for one, other in itertools.permutations(models, 2):
        with unchanged(one):
            for call in calls_with(one, other.objective):
                with pytest.raises(ValueError, match="planned by another network"):
                    call()
    for one in models:
        for call in calls_with(one, one.objective):
            call()


# Return values of Python functions ------------------------------------------------------------------------


ANSWERS: dict[str, tuple[Any, type[Exception], str]] = {
    "nothing": (None, TypeError, "loss must return a pair"),
    "a list": ([0.0, []], TypeError, "loss must return a pair"),
    "one": ((0.0,), TypeError, "loss must return a pair"),
    "text for the value": (
        ("high", [draw(4, 2)]),
        TypeError,
        "the value that loss returns must be a number; got str",
    ),
    "no gradients": ((0.0, []), ValueError, "gradient of loss must hold 1 array; got 0"),
    "a gradient of fewer rows": ((0.0, [draw(3, 2)]), ValueError, r"must have shape \(4, 2\); got \(3, 2\)"),
    "a gradient of another dtype": ((0.0, [draw(4, 2).astype(float)]), TypeError, "float64"),
    "a gradient that is text": ((0.0, ["x"]), TypeError, "NumPy array"),
    "a value that is not finite": ((np.nan, [draw(4, 2)]), FloatingPointError, "the loss is nan"),
    "a gradient that is not finite": (
        (0.0, [np.full((4, 2), np.inf, np.float32)]),
        FloatingPointError,
        "gradient of the loss is inf",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_a_loss_returns(name: str) -> None:
    answer, error, message = ANSWERS[name]
    model = chain([3, 2])
    values = model.store.values.copy()
    with pytest.raises(error, match=message):
        model.network.train_step_with(lambda outputs: answer, draw(4, 3), model.optimizer, model.state)
    assert np.array_equal(model.store.values, values)
    assert model.state.steps == 0


@pytest.mark.parametrize(
    "answer", [None, 3, [draw(4, 3)], (draw(4, 3), draw(4, 2)), (None, None, None), (1, 2, 3, 4), "abc"]
)
def test_what_a_converter_of_batches_returns(answer: Any) -> None:
    model = chain([3, 2])
    with unchanged(model), pytest.raises((TypeError, ValueError)):
        train_step(model, "x", "y", convert=lambda *given: answer)


@pytest.mark.parametrize("answer", [None, 3, "abc", [], [draw(4, 3)] * 2, draw(4, 2), [None]])
def test_what_a_converter_of_inputs_returns(answer: Any) -> None:
    model = chain([3, 2])
    calls: tuple[Callable[[], object], ...] = (
        lambda: model.network.predict("x", convert=lambda given: answer),
        lambda: model.network.forward("x", convert=lambda given: answer),
    )
    for call in calls:
        with pytest.raises((TypeError, ValueError)):
            call()


class Liar(np.ndarray):
    """An array whose take() returns something else."""

    def take(self, indices: Any, axis: Any = None, out: Any = None, mode: Any = "raise") -> NDArray[Any]:
        return answers[0]


answers: list[Any] = []


@pytest.mark.parametrize("answer", [np.zeros((1, 1), np.float32), np.zeros((2, 2), np.float32), "text"])
def test_what_an_arrays_own_take_returns(answer: Any) -> None:
    model = chain([3, 2])
    x = draw(4, 3).view(Liar)
    answers[:] = [answer]

    def loss(outputs: list[NDArray[Any]]) -> tuple[float, list[NDArray[Any]]]:
        return 0.0, outputs

    with pytest.raises((TypeError, ValueError), match="x"):
        model.network.train_step_with(loss, x, model.optimizer, model.state, np.array([0, 1]))


# Uninitialized objects ------------------------------------------------------------------------------------

UNMADE = """
from nncore import _core
from nncore import functional as F
for name in dir(_core):
    kind = getattr(_core, name)
    if not isinstance(kind, type): continue
    try: one = kind.__new__(kind)
    except TypeError: continue
    for attribute in dir(one):
        if attribute.startswith("__") and attribute not in ("__repr__", "__enter__", "__exit__"): continue
        try:
            value = getattr(one, attribute)
            if callable(value):
                for arguments in ((), (1,), ([],), ([], []), (one,), (one, one, one), (one, 1, 1, one, one)):
                    try: value(*arguments)
                    except Exception: pass
            else: setattr(one, attribute, value)
        except Exception: pass
print("fine")
"""


def test_objects_that_were_never_made_are_errors() -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNMADE], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr


def test_arguments_that_were_never_made_are_errors() -> None:
    model, x = chain([3, 3]), draw(4, 3)
    objective = _core.Objective.__new__(_core.Objective)
    optimizer = _core.Optimizer.__new__(_core.Optimizer)
    state = _core.OptimizerState_float32.__new__(_core.OptimizerState_float32)
    calls: tuple[Callable[[], object], ...] = (
        lambda: model.network.loss(objective, x, x),
        lambda: model.network.loss_and_gradients(objective, x, x),
        lambda: model.network.train_step(objective, x, x, model.optimizer, model.state),
        lambda: model.network.train_step(model.objective, x, x, optimizer, model.state),
        lambda: model.network.train_step(model.objective, x, x, model.optimizer, state),
        lambda: model.network.update(optimizer, model.state),
        lambda: model.network.update(model.optimizer, state),
        lambda: _core.Network_float32(_core.Graph.__new__(_core.Graph), model.store),
    )
    with unchanged(model):
        for call in calls:
            with pytest.raises((TypeError, ValueError, RuntimeError)):
                call()
