"""nncore._core: concurrent use of a network, and other threads during a call."""

import signal
import threading
from collections.abc import Callable

import numpy as np
import pytest

from nncore import _core
from small_networks import chain, draw, snapshot, train_epoch, train_step, unchanged


def test_calls_into_a_model_inside_its_step() -> None:
    model, x, y = chain([3, 2]), draw(8, 3), draw(8, 2)
    sharing = _core.Network_float32(_core.Graph([_core.Node.input("x", 3)], [0]), model.store)
    calls: list[Callable[[], object]] = [
        lambda: model.network.predict(x),
        lambda: sharing.predict(x),
        lambda: model.network.forward(x),
        lambda: model.network.backward(y),
        lambda: model.network.loss(model.objective, [x], [y]),
        lambda: train_step(model, x, y),
        lambda: train_epoch(model, x, y),
        lambda: model.network.update(model.optimizer, model.state),
        lambda: model.store.initialize(1),
        lambda: model.store.copy_from(chain([3, 2]).store),
        lambda: chain([3, 2]).store.copy_from(model.store),
        lambda: model.store.set_trainable(0, False),
    ]
    for call in calls:
        with unchanged(model), pytest.raises(RuntimeError, match=r"by another call|another call is using"):
            model.network.train_step_with(lambda _, call=call: call(), [x], model.optimizer, model.state)
        steps = model.state.steps
        with pytest.raises(RuntimeError, match="another call"):
            train_epoch(model, x, y, tick=lambda *_, call=call: call())
        assert model.state.steps == steps + 1  # the step before the tick is complete
    model.network.predict(x)  # the model is free again


def test_a_thread_cannot_predict_while_another_trains() -> None:
    model, x, y = chain([3, 2]), draw(8, 3), draw(8, 2)
    seen: list[BaseException] = []

    def predict() -> None:
        try:
            model.network.predict(x)
        except RuntimeError as error:
            seen.append(error)

    def tick(*_: float) -> None:
        thread = threading.Thread(target=predict)
        thread.start()
        thread.join()

    train_epoch(model, x, y, tick=tick)
    assert seen
    assert "wait" in str(seen[0])


def test_several_threads_predict_at_the_same_time() -> None:
    model = chain([20, 64, 64, 3])
    inputs = [draw(rows, 20, seed=rows) for rows in (1, 7, 100, 1000)]
    expected = [model.network.predict(x) for x in inputs]
    wrong: list[str] = []
    ready = threading.Barrier(len(inputs))

    def work(index: int) -> None:
        ready.wait()
        out = np.empty_like(expected[index])
        for _ in range(50):
            model.network.predict(inputs[index], out)
            if not np.array_equal(out, expected[index]):
                wrong.append(f"thread {index}")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_long_calls_let_other_threads_run() -> None:
    model, x = chain([256, 512, 256]), draw(5000, 256)
    out = np.empty((5000, 256), np.float32)
    counter, stop = [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            counter[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        counts = []
        for _ in range(5):
            before = counter[0]
            model.network.predict(x, out)
            counts.append(counter[0] - before)
    finally:
        stop.set()
        thread.join()
    assert min(counts) > 0, counts


def test_tick_and_its_errors() -> None:
    model, same = chain([3, 2]), chain([3, 2])
    x, y = draw(8, 3), draw(8, 2)
    ticks: list[tuple[int, float]] = []
    result = train_epoch(model, x, y, tick=lambda steps, loss: ticks.append((steps, loss)))
    assert result.steps == 2
    assert ticks[0][0] == 1
    assert ticks[0][1] == train_step(same, x[:4], y[:4])

    def raising(*_: float) -> None:
        raise KeyError("of the caller")

    train_step(same, x[4:], y[4:])
    with pytest.raises(KeyError, match="of the caller"):
        train_epoch(model, x, y, tick=raising)
    train_step(same, x[:4], y[:4])
    assert snapshot(model) == snapshot(same)


def test_a_signal_ends_an_epoch_after_a_whole_step() -> None:
    model, same = chain([3, 8, 2]), chain([3, 8, 2])
    x, y = draw(64, 3), draw(64, 2)
    rows = np.arange(4_000_000) % 64

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):  # after some steps
            train_epoch(
                model,
                x,
                y,
                batch_size=2,
                rows=rows,
                tick=lambda steps, loss: signal.setitimer(signal.ITIMER_REAL, 0.01),
            )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    steps = model.state.steps
    assert 0 < steps < rows.size // 2
    train_epoch(same, x, y, batch_size=2, rows=rows[: 2 * steps].copy())
    assert snapshot(model) == snapshot(same)
