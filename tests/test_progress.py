"""Progress: the output of a fit on stderr, its frequency, and that faults of stderr and tqdm end no fit."""

import errno
import io
import itertools
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tqdm

import nncore as nc

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 4))
Y = RNG.standard_normal((50, 2))
STEPS = 5  # per epoch


def half_squared(output, y):
    """A Python loss, with which the display is updated at every step."""
    return 0.5 * float(((output - y) ** 2).sum()) / len(y), (output - y) / len(y)


def trainer(loss=half_squared, **options):
    return nc.Trainer(nc.mlp([4, 8, 2], activation="tanh", seed=0), loss, nc.SGD(0.1), **options)


def fit(epochs=3, *, of=None, **options):
    """The trainer after the fit."""
    of = trainer() if of is None else of
    of.fit(X, Y, epochs=epochs, batch_size=10, **options)
    return of


class Terminal(io.StringIO):
    """A terminal, which shows bars."""

    encoding = "utf-8"

    def isatty(self):
        return True


class Log:
    """A replacement for stderr in programs without a console, with only `write`."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


class Broken(Terminal):
    """Works for some writes; after that, one method raises."""

    def __init__(self, error, *, writes=0, method="write", terminal=True):
        super().__init__()
        self.error, self.left, self.method, self.terminal = error, writes, method, terminal

    def _use(self, method):
        if method == self.method and self.left <= 0:
            raise self.error

    def write(self, text):
        self._use("write")
        self.left -= 1
        return super().write(text)

    def flush(self):
        self._use("flush")

    def isatty(self):
        self._use("isatty")
        return self.terminal


def closed():
    stream = Terminal()
    stream.close()
    return stream


def ascii_in_disguise():
    """Claims utf-8, so that bars use Unicode, but accepts only ASCII."""

    class Disguised(io.TextIOWrapper):
        encoding = "utf-8"

    return Disguised(io.BytesIO(), encoding="ascii", write_through=True)


FAULTS = {
    "none": lambda: None,
    "no methods": object,
    "no isatty, no flush": Log,
    "closed": closed,
    "disk full": lambda: Broken(OSError(errno.ENOSPC, "No space left on device")),
    "disk full when flushed": lambda: Broken(OSError(errno.ENOSPC, "No space left"), method="flush"),
    "terminal gone": lambda: Broken(OSError(errno.EIO, "Input/output error")),
    "pipe gone": lambda: Broken(BrokenPipeError(errno.EPIPE, "Broken pipe")),
    "ValueError": lambda: Broken(ValueError("I/O operation on closed file")),
    "its own error": lambda: Broken(RuntimeError("of the log")),
    "breaks at the 2nd write": lambda: Broken(OSError(errno.ENOSPC, "No space left"), writes=1),
    "breaks at the 3rd write": lambda: Broken(BrokenPipeError(), writes=2),
    "breaks at the 9th write": lambda: Broken(ValueError("of the log"), writes=8),
    "breaks as a log": lambda: Broken(OSError(errno.ENOSPC, "No space left"), writes=2, terminal=False),
    "isatty raises": lambda: Broken(OSError(errno.EBADF, "Bad file descriptor"), method="isatty"),
    "encoding": ascii_in_disguise,
}


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests advance."""

    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

        def after_epochs_of(self, seconds):
            """A metric that makes an epoch take `seconds`."""

            def tick(y_true, y_pred):
                self.now += seconds
                return 0.0

            return tick

    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
def seconds_fly(monkeypatch):
    """Every reading of the clock advances it by a second, so that nothing is skipped."""
    monkeypatch.setattr(time, "monotonic", itertools.count(1000.0).__next__)


def screen(text):
    """The lines that remain. (A bar overwrites itself.)"""
    return [line.split("\r")[-1].rstrip() for line in text.split("\n")[:-1]]


# Faults never end a fit ---------------------------------------------------------------------------------


@pytest.mark.parametrize("progress", ["auto", True, False])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fit_does_not_need_stderr(fault, progress, monkeypatch, seconds_fly, capsys):
    expected = fit(progress=False).model.parameters
    monkeypatch.setattr(sys, "stderr", FAULTS[fault]())
    trained = fit(progress=progress)
    assert trained.history.epochs == 3
    assert np.array_equal(trained.model.parameters, expected)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("progress", ["auto", True])
@pytest.mark.parametrize("moment", ["loss", "metric", "callback"])
def test_stderr_may_break_during_the_fit(moment, progress, monkeypatch, seconds_fly):
    stream = Terminal() if progress is True else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    calls = itertools.count()

    def close(*_):
        if next(calls) == 1:
            stream.close()
        return 0.0

    def loss(output, y):
        if moment == "loss":
            close()
        return half_squared(output, y)

    class Closing(nc.Callback):
        def on_epoch_end(self, trainer, logs):
            if moment == "callback":
                close()

    of = trainer(loss, metrics=[close] if moment == "metric" else [])
    assert fit(4, of=of, progress=progress, callbacks=[Closing()]).history.epochs == 4
    assert stream.closed


@pytest.mark.parametrize("fault", ["disk full", "breaks at the 3rd write", "encoding"])
def test_a_bar_that_broke_holds_up_no_other_bar(fault, monkeypatch, seconds_fly):
    monkeypatch.setattr(sys, "stderr", FAULTS[fault]())
    fit(progress=True)
    thread = threading.Thread(target=lambda: list(tqdm.tqdm(range(3), file=io.StringIO())), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("name", ["tqdm", "tqdm.std"])
def test_a_bar_without_tqdm(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, name, None)
    assert fit(progress=True).history.epochs == 3


@pytest.mark.parametrize("method", ["__new__", "__init__", "update", "close", "display", "set_postfix_str"])
def test_a_tqdm_that_raises(method, monkeypatch, seconds_fly):
    def failing(*_, **__):
        raise RuntimeError("of tqdm")

    monkeypatch.setattr(tqdm.tqdm, method, failing)
    assert fit(progress=True).history.epochs == 3


PROGRAM = """
import sys
import numpy as np
import nncore as nc
x = np.zeros((4, 2))
trainer = nc.Trainer(nc.mlp([2, 1], seed=0), lambda output, y: (0.0, output), "sgd")
print(trainer.fit(x, x[:, :1], epochs=3, progress={progress}).epochs)
"""


def run(progress, **options):
    """Runs a separate program and returns its stdout."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM.format(progress=repr(progress))]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, **options)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TQDM_MININTERVAL", "often"),
        ("TQDM_NCOLS", "wide"),
        ("TQDM_BAR_FORMAT", "{no_such_field}"),
        ("TQDM_BAR_FORMAT", "{n:x}{remaining_s:d}"),
        ("TQDM_ASCII", ""),
        ("TQDM_POSITION", "-1"),
        ("TQDM_DISABLE", "1"),
    ],
)
def test_an_environment_that_tqdm_does_not_accept(name, value):
    done = run(True, stderr=subprocess.PIPE, env={**os.environ, name: value})
    assert (done.returncode, done.stdout) == (0, "3\n")
    assert "Error" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("progress", ["auto", True])
@pytest.mark.parametrize("target", ["full", "pipe", "closed"])
def test_a_stderr_of_the_system_that_takes_nothing(target, progress):
    if target == "full":
        with open("/dev/full", "w") as full:  # noqa: PTH123 - a device that is there to be full
            done = run(progress, stderr=full)
    elif target == "pipe":
        read_end, write_end = os.pipe()
        os.close(read_end)
        done = run(progress, stderr=write_end)
        os.close(write_end)
    else:
        done = run(progress, preexec_fn=lambda: os.close(2))
    assert (done.returncode, done.stdout) == (0, "3\n")


@pytest.mark.parametrize("progress", ["auto", True])
@pytest.mark.parametrize("writes", [0, 2, 5])
@pytest.mark.parametrize("terminal", [True, False])
def test_ctrl_c_passes(terminal, writes, progress, monkeypatch, seconds_fly):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", Broken(KeyboardInterrupt(), writes=writes, terminal=terminal))
        with pytest.raises(KeyboardInterrupt):
            fit(10, progress=progress)
    done = threading.Event()
    threading.Thread(target=lambda: (fit(progress=True), done.set()), daemon=True).start()
    assert done.wait(10)


@pytest.mark.parametrize("progress", ["yes", None, 2, [], "Auto"])
def test_other_options_are_refused_before_training(progress):
    of = trainer()
    before = of.model.parameters.copy()
    with pytest.raises(ValueError, match="progress must be True, False or 'auto'; got"):
        fit(of=of, progress=progress)
    assert of.history.epochs == 0
    assert np.array_equal(of.model.parameters, before)


# Lines ----------------------------------------------------------------------------------------------------


def printed_epochs(text):
    """The epochs for which a line was printed."""
    return [int(line.split()[1].split("/")[0]) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("seconds", "epochs", "printed"),
    [
        (0.0, 1000, [1000]),
        (0.25, 20, [4, 8, 12, 16, 20]),
        (0.375, 10, [3, 6, 9, 10]),
        (0.75, 5, [2, 4, 5]),
        (1.0, 3, [1, 2, 3]),
        (2.5, 3, [1, 2, 3]),
        (0.0, 1, [1]),
    ],
)
def test_at_most_one_line_a_second_and_that_of_the_last_epoch(seconds, epochs, printed, clock, capsys):
    fit(epochs, of=trainer("half_squared_error", metrics=[clock.after_epochs_of(seconds)]))
    out, err = capsys.readouterr()
    assert out == ""
    assert printed_epochs(err) == printed
    assert len(printed) <= seconds * epochs + 1
    assert err.splitlines()[-1].startswith(f"epoch {epochs}/{epochs}  loss ")


def test_a_line_has_the_columns_of_its_epoch(clock, capsys):
    of = fit(2, of=trainer("half_squared_error", metrics=[clock.after_epochs_of(1)]), validation_data=(X, Y))
    for line, epoch in zip(capsys.readouterr().err.splitlines(), range(2), strict=True):
        assert f"  val_loss {of.history['val_loss'][epoch]:.4g}  " in line


class Ending(nc.Callback):
    """Ends the fit after an epoch."""

    def __init__(self, epoch, how):
        self.epoch, self.how = epoch, how

    def on_epoch_end(self, trainer, logs):
        if trainer.history.epochs < self.epoch:
            return
        if self.how is None:
            trainer.stop()
        else:
            raise self.how


@pytest.mark.parametrize("progress", ["auto", True])
@pytest.mark.parametrize("seconds", [0.0, 1.0])
@pytest.mark.parametrize("how", [None, RuntimeError("of the callback"), KeyboardInterrupt()])
def test_the_last_line_is_printed_once_however_the_fit_ends(how, seconds, progress, clock, capsys):
    of = trainer("half_squared_error", metrics=[clock.after_epochs_of(seconds)])
    try:
        fit(10, of=of, progress=progress, callbacks=[Ending(4, how)])
    except BaseException as error:
        assert error is how  # noqa: PT017 - one of three ways does not raise
    lines = screen(capsys.readouterr().err)
    assert [line[:10] for line in lines] == [f"epoch {n}/10" for n in ([4] if seconds == 0 else [1, 2, 3, 4])]


@pytest.mark.parametrize("how", [FloatingPointError("nan"), KeyboardInterrupt(), OSError("of the data")])
def test_an_epoch_that_fails_leaves_the_line_of_the_one_before(how, clock, capsys):
    calls = itertools.count(1)

    def failing(y_true, y_pred):
        if next(calls) == 4:
            raise how
        return 0.0

    with pytest.raises(type(how)):
        fit(10, of=trainer("half_squared_error", metrics=[failing]))
    assert printed_epochs(capsys.readouterr().err) == [3]


def test_a_log_of_few_methods_has_every_line(monkeypatch, seconds_fly):
    log = Log()
    monkeypatch.setattr(sys, "stderr", log)
    fit(3)
    assert printed_epochs(log.text) == [1, 2, 3]


# Bars -----------------------------------------------------------------------------------------------------


def test_auto_is_a_bar_on_a_terminal_and_nothing_is_nothing(monkeypatch):
    for progress, expected in (("auto", True), (True, True), (False, False)):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        fit(2, progress=progress)
        assert ("epoch 2/2: 100%" in terminal.getvalue()) is expected
        assert bool(terminal.getvalue()) is expected


def test_a_bar_may_be_asked_for_where_there_is_no_terminal(capsys):
    fit(2, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 2/2: 100%" in err


@pytest.mark.parametrize(
    ("seconds", "epochs", "left"),
    [(0.0, 1000, [1000]), (0.25, 8, [4, 8]), (0.375, 10, [3, 6, 9, 10]), (1.5, 3, [1, 2, 3]), (0.0, 1, [1])],
)
def test_at_most_one_bar_a_second_stays(seconds, epochs, left, clock, capsys):
    of = trainer(metrics=[clock.after_epochs_of(seconds)])
    fit(epochs, of=of, progress=True)
    text = capsys.readouterr().err
    lines = screen(text)
    assert [line.split(":")[0] for line in lines] == [f"epoch {epoch}/{epochs}" for epoch in left]
    for line, epoch in zip(lines, left, strict=True):
        assert f"{STEPS}/{STEPS}" in line
        assert f"loss {of.history['loss'][epoch - 1]:.4g}" in line
    assert text.count("\r") < 10 * (len(left) + seconds * epochs + 1)  # fast epochs are not drawn


def test_a_running_epoch_has_a_bar_that_moves(monkeypatch, seconds_fly):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    calls = itertools.count(1)

    def slower(output, y):
        time.sleep(0.005 if next(calls) < 45 else 0.11)  # tqdm draws ten times a second
        return half_squared(output, y)

    trainer(slower).fit(X, Y, batch_size=1)
    for step in (45, 46, 47, 48, 49):
        assert f" {step}/50 [" in terminal.getvalue()


def test_a_bar_that_is_drawn_late_knows_when_its_epoch_began(clock, capsys):
    calls = itertools.count(1)

    def waiting(output, y):
        if next(calls) == STEPS + 2:  # the previous epoch was short
            clock.now += 90
        return half_squared(output, y)

    fit(2, of=trainer(waiting), progress=True)
    drawn = capsys.readouterr().err
    assert "epoch 2/2:  20%" not in drawn
    assert " 2/5 [01:30<" in drawn
    assert " 5/5 [01:30<" in screen(drawn)[-1]


def test_a_bar_of_an_interrupted_epoch_stays_as_it_is(seconds_fly, capsys):
    calls = itertools.count(1)

    def interrupted(output, y):
        if next(calls) == STEPS + 4:
            raise KeyboardInterrupt
        return half_squared(output, y)

    with pytest.raises(KeyboardInterrupt):
        fit(3, of=trainer(interrupted), progress=True)
    first, second = screen(capsys.readouterr().err)
    assert first.startswith("epoch 1/3: 100%")
    assert second.startswith("epoch 2/3:  60%")
