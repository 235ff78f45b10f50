"""Forks, threads and interrupts in a long-lived process, for a library that has its own threads."""

import hashlib
import os
import random
import signal
import threading
import time

import numpy as np
import pytest

import nncore as nc
from nncore import _core
from nncore.model.objective import Samples

TIMEOUT = 60  # seconds until a forked process counts as hanging


def digest(model):
    return hashlib.sha256(model.parameters.tobytes()).hexdigest()


def problem():
    data = np.random.default_rng(0)
    return data.standard_normal((640, 64)).astype(np.float32), data.integers(0, 10, 640)


def make_trainer(seed=0):
    model = nc.mlp([64, 256, 10], activation="relu", output="softmax", seed=seed)
    return nc.Trainer(model, "cross_entropy", nc.Adam(1e-3))


def trained_digest(seed=0):
    trainer = make_trainer(seed)
    trainer.fit(*problem(), epochs=2, batch_size=128, progress=False)
    return digest(trainer.model)


@pytest.fixture(autouse=True)
def two_threads():
    before = _core.num_threads()
    _core.set_num_threads(2)
    yield
    _core.set_num_threads(before)


def run_forked(work):
    """The string that work() returns in a forked child. Fails after a timeout."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, work().encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    deadline = time.monotonic() + TIMEOUT
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail(f"the forked child still ran after {TIMEOUT} s")
        time.sleep(0.01)
    with os.fdopen(read) as pipe:
        return pipe.read()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_training_works_in_a_forked_child_and_grandchild():
    expected = trained_digest()  # the parent's pool has run
    assert run_forked(trained_digest) == expected
    assert run_forked(lambda: trained_digest() + " " + run_forked(trained_digest)) == f"{expected} {expected}"
    assert trained_digest() == expected


def test_eight_python_threads_train_their_own_models():
    expected = [trained_digest(seed) for seed in range(8)]
    found = [None] * 8

    def work(seed):
        found[seed] = trained_digest(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert found == expected


def test_several_threads_predict_on_one_model():
    model = make_trainer().model
    x, _ = problem()
    expected = model.predict(x)
    wrong = []

    def work():
        for _ in range(20):
            if not np.array_equal(model.predict(x), expected):
                wrong.append(threading.get_ident())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert not wrong


def test_training_a_model_that_is_in_use_is_an_error():
    trainer = make_trainer()
    x, y = problem()
    errors = []

    def use_it(name, call):
        try:
            call()
        except RuntimeError as error:
            errors.append((name, str(error)))

    def loss(output, target):
        other = threading.Thread(target=use_it, args=("thread", lambda: trainer.model.predict(x)))
        other.start()
        other.join(TIMEOUT)
        use_it("predict", lambda: trainer.model.predict(x))
        use_it("step", lambda: trainer.step(x, y))
        use_it("copy", lambda: trainer.model.loss_and_gradients(x, y, "cross_entropy"))
        return 0.0, np.zeros_like(output)

    before = digest(trainer.model)
    nc.Trainer(trainer.model, loss, nc.SGD(0.1)).step(x, y)
    assert [name for name, _ in errors] == ["thread", "predict", "step", "copy"]
    assert all("model" in text for _, text in errors)
    assert digest(trainer.model) == before  # as the gradient was zero
    trainer.model.predict(x)  # the model is free again


def test_a_callback_inside_an_epoch_cannot_use_the_model():
    trainer = make_trainer()
    x, y = problem()
    errors = []

    def tick(steps, loss):
        with pytest.raises(RuntimeError, match="model") as caught:
            trainer.model.predict(x)
        errors.append(str(caught.value))

    trainer.objective.train_epoch(Samples([x], [y], None), trainer.optimizer, 64, None, tick)
    assert errors


def per_step_digests(epochs, batch_size):
    """The hashes after 0, 1, 2, ... single steps."""
    trainer = make_trainer()
    x, y = problem()
    digests = [digest(trainer.model)]
    for epoch in range(epochs):
        rows = _core.shuffled_rows(len(x), trainer.seed, epoch)
        for first in range(0, len(x), batch_size):
            batch = rows[first : first + batch_size]
            trainer.step(x[batch], y[batch])
            digests.append(digest(trainer.model))
    return digests


def test_ctrl_c_leaves_the_model_after_a_whole_step():
    epochs, batch_size = 8, 32
    expected = per_step_digests(epochs, batch_size)
    steps_an_epoch = -(-640 // batch_size)
    x, y = problem()
    delays = random.Random(0)
    interrupted = 0
    begin = time.perf_counter()
    make_trainer().fit(x, y, epochs=epochs, batch_size=batch_size, progress=False)
    duration = time.perf_counter() - begin
    for _ in range(100):
        trainer = make_trainer()
        timer = threading.Timer(delays.uniform(0, duration), os.kill, (os.getpid(), signal.SIGINT))
        finished = False
        try:
            timer.start()
            trainer.fit(x, y, epochs=epochs, batch_size=batch_size, progress=False)
            finished = True
            timer.join(TIMEOUT)
            time.sleep(TIMEOUT)  # waits for the signal
            pytest.fail("no interrupt came")
        except KeyboardInterrupt:
            interrupted += not finished
        steps = trainer.optimizer.state(trainer.model.store).steps
        assert digest(trainer.model) == expected[steps]
        assert trainer.history.epochs <= steps // steps_an_epoch <= trainer.history.epochs + 1
    assert interrupted >= 20  # the interrupts were spread over the run
