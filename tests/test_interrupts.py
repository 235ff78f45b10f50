"""Ctrl-C ends every call over many samples within 100 ms and leaves the model valid."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import nncore as nc
from nncore import functional as F

ROWS, FEATURES, WIDTH = 12_000, 64, 2000  # a forward pass takes about a second
DELAY = 0.3  # seconds into the call before the signal
LIMIT = 0.1 + 0.05  # processor seconds of the main thread, as others may have the processor


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = nc.num_threads()
    nc.set_num_threads(1)
    yield
    nc.set_num_threads(before)


class Interrupt:
    """Sends a signal after DELAY and measures the main thread's processor time since."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        self.sent = 0.0
        self.clock = time.pthread_getcpuclockid(threading.main_thread().ident or 0)
        self.timer = threading.Timer(DELAY, self.send, [number])
        self.timer.start()

    def send(self, number: int) -> None:
        self.sent = time.clock_gettime(self.clock)
        os.kill(os.getpid(), number)

    def waited(self) -> float:
        self.timer.join()
        return time.clock_gettime(self.clock) - self.sent


def time_to_end(call: Callable[[], object]) -> float:
    """Seconds from Ctrl-C until KeyboardInterrupt comes out of the call."""

    def run() -> None:
        call()
        time.sleep(60)  # waits for the signal

    interrupt = Interrupt()
    with pytest.raises(KeyboardInterrupt):
        run()
    return interrupt.waited()


class Case:
    """A wide model, and samples that repeat one row."""

    def __init__(self) -> None:
        self.model = nc.mlp([FEATURES, WIDTH, WIDTH, 4], activation="tanh", output="softmax", seed=0)
        self.trainer = nc.Trainer(self.model, "cross_entropy", nc.Adam(1e-3))
        self.x = np.broadcast_to(np.ones(FEATURES, np.float32), (ROWS, FEATURES))
        self.y = np.broadcast_to(np.int64(1), (ROWS,))
        self.many = np.broadcast_to(np.ones(FEATURES, np.float32), (20 * ROWS, FEATURES))
        self.labels = np.broadcast_to(np.int64(1), (20 * ROWS,))
        self.trainer.step(self.x[:4], self.y[:4])

    def numbers(self) -> list[bytes]:
        state = self.trainer.optimizer.state(self.model.store)
        arrays = [self.model.parameters, *state.slots.values()]
        return [array.tobytes() for array in arrays] + [str(state.steps).encode()]

    def python_loss(self, output: NDArray[Any], y: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        return 0.0, output


CALLS: dict[str, Callable[[Case], object]] = {
    "predict": lambda case: case.model.predict(case.many),
    "evaluate": lambda case: case.trainer.evaluate(case.many, case.labels),
    "step": lambda case: case.trainer.step(case.x, case.y),
    "fit of one batch": lambda case: case.trainer.fit(case.x, case.y, batch_size=ROWS, progress=False),
    "fit": lambda case: case.trainer.fit(case.x, case.y, batch_size=4000, progress=False),
    "loss_and_gradients": lambda case: case.model.loss_and_gradients(case.x, case.y, "cross_entropy"),
    "adding gradients": lambda case: case.model.loss_and_gradients(
        case.x, case.y, "cross_entropy", accumulate=True
    ),
    "forward": lambda case: [case.model.forward(case.x) for _ in range(10)],
    "a Python loss": lambda case: nc.Trainer(case.model, case.python_loss, nc.SGD(0.0)).step(
        case.x, np.ones((ROWS, 4))
    ),
    "evaluate with a Python loss": lambda case: nc.Trainer(case.model, case.python_loss).evaluate(
        case.many, np.broadcast_to(1.0, (20 * ROWS, 4))
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_ctrl_c_ends_a_call_and_changes_nothing(name: str) -> None:
    case = Case()
    case.model.loss_and_gradients(case.x[:5], case.y[:5], "cross_entropy")
    before, gradients = case.numbers(), case.model.gradients.copy()
    assert time_to_end(lambda: CALLS[name](case)) < LIMIT
    steps = case.trainer.optimizer.state(case.model.store).steps
    if steps == 1:  # no step of the fit was complete
        assert case.numbers() == before
    if "gradients" in name:
        assert np.array_equal(case.model.gradients, gradients)
    expected = Case()
    for _ in range(steps - 1):
        expected.trainer.step(case.x[:4000], case.y[:4000])
    if "fit" not in name:
        case.trainer.step(case.x[:4], case.y[:4])  # and remains usable
        expected.trainer.step(case.x[:4], case.y[:4])
        assert case.numbers() == expected.numbers()


def test_backward_changes_no_gradient_and_may_be_called_again() -> None:
    case = Case()
    case.model.forward(case.x)
    gradients = case.model.gradients.copy()
    given = np.full((ROWS, 4), 1e-3, np.float32)
    assert time_to_end(lambda: case.model.backward(given)) < LIMIT
    assert np.array_equal(case.model.gradients, gradients)
    case.model.backward(given)
    gradients = case.model.gradients.copy()
    case.model.forward(case.x)
    case.model.backward(given)
    assert np.array_equal(case.model.gradients, gradients)


def embedding() -> Callable[[], object]:
    x = nc.Input(50, is_integer=True)
    model = nc.Model(x, nc.Dense(50 * 64, 4)(nc.Embedding(10, 64)(x)))
    return partial(model.predict, np.broadcast_to(np.int64(3), (3_000_000, 50)))


def no_parameters() -> Callable[[], object]:
    x = nc.Input(500)
    model = nc.Model(x, nc.GELU()(nc.Add()(x, x)))
    rows, out = np.broadcast_to(np.float64(0.5), (40_000, 500)), np.empty((40_000, 500), np.float32)
    return lambda: [model.predict(rows, out=out) for _ in range(1000)]


def product() -> Callable[[], object]:
    return partial(F.dense_forward, np.ones((6000, 6000)), np.ones((6000, 6000)))


def activation() -> Callable[[], object]:
    z = np.ones((5000, 4000), np.float32)
    return lambda: [F.gelu(z) for _ in range(1000)]


def loss_of_labels() -> Callable[[], object]:
    prediction, labels = np.ones((200_000, 50)), np.ones(200_000, int)
    return lambda: [F.softmax_cross_entropy(prediction, labels) for _ in range(1000)]


@pytest.mark.parametrize("make", [embedding, no_parameters, product, activation, loss_of_labels])
def test_ctrl_c_ends_calls_of_other_kinds(make: Callable[[], Callable[[], object]]) -> None:
    assert time_to_end(make()) < LIMIT


def test_other_signals_raise_what_their_handlers_raise() -> None:
    class AlarmError(Exception):
        pass

    def raise_alarm(*_: object) -> None:
        raise AlarmError

    case = Case()
    before = signal.signal(signal.SIGUSR1, raise_alarm)
    try:
        interrupt = Interrupt(signal.SIGUSR1)
        with pytest.raises(AlarmError):
            case.model.predict(case.many)
        assert interrupt.waited() < LIMIT
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_handler_may_use_the_model_and_the_call_goes_on() -> None:
    case = Case()
    few = case.x[:3]
    expected, small = case.model.predict(case.x), case.model.predict(few)
    product = F.dense_forward(np.ones((900, 800), np.float32), np.ones((700, 800), np.float32))
    seen: list[bool] = []
    refused: list[str] = []
    idle = nc.Trainer(case.model, case.trainer.objective.terms[0].loss, nc.SGD(0.0))

    def predict(*_: object) -> None:
        seen.append(np.array_equal(case.model.predict(few), small))
        larger = F.dense_forward(np.ones((900, 800), np.float32), np.ones((700, 800), np.float32))
        seen.append(np.array_equal(larger, product))
        try:
            idle.step(few, case.y[:3])  # changes nothing where the signal comes as the call returns
        except RuntimeError as error:
            refused.append(str(error))

    before = signal.signal(signal.SIGALRM, predict)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.1)
    try:
        found = case.model.predict(case.x)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen
    assert all(seen)
    assert any("another call" in message for message in refused)
    assert np.array_equal(found, expected)


def test_calls_of_other_threads_go_on() -> None:
    case = Case()
    expected = case.model.predict(case.x)
    found: list[NDArray[Any]] = []
    thread = threading.Thread(target=lambda: found.append(case.model.predict(case.x)))
    thread.start()
    time_to_end(lambda: None)
    thread.join()
    assert np.array_equal(found[0], expected)
