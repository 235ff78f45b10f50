"""How a process ends while threads compute, and when nncore cannot be imported."""

import subprocess
import sys

import pytest

SETUP = """
import sys, threading, time
import numpy as np
import nncore as nc

nc.set_num_threads({threads})
rng = np.random.default_rng(0)
x = rng.normal(size=(64, 3)).astype(np.float32)
y = (x[:, 0] > 0).astype(int)
X, Y = np.tile(x, (2000, 1)), np.tile(y, 2000)
model = nc.mlp([3, 64, 64, 2], output="softmax", seed=0)
optimizer = nc.SGD(0.01)
optimizer.transforms = [lambda gradients: gradients.__imul__(0.5) is None or None]
trainer = nc.Trainer(model, "cross_entropy")
transformed = nc.Trainer(nc.mlp([3, 64, 2], output="softmax", seed=0), "cross_entropy", optimizer)
by_python = nc.Trainer(nc.mlp([3, 64, 2], seed=0), lambda output, y: (0.0, output))

def work():
    while True:
        {work}

for _ in range({workers}):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.25)
print("ends")
sys.exit(7)
"""

WORK = {
    "fit": "trainer.fit(X, Y, epochs=50, progress=False)",
    "fit with a Python transform": "transformed.fit(X, Y, epochs=50, progress=False)",
    "step": "trainer.step(x, y)",
    "large step": "trainer.step(X, Y)",
    "step with a Python loss": "by_python.step(X, np.ones((len(X), 2), np.float32))",
    "predict": "model.predict(X)",
    "predict of lists": "model.predict([[1.0, 2.0, 3.0]] * 1000)",
    "evaluate": "trainer.evaluate(X, Y)",
    "function": "nc.functional.gelu(np.ones((1000, 1000)))",
}


def status_of(work: str, threads: int, workers: int = 1) -> tuple[int, str]:
    code = SETUP.format(work=work, threads=threads, workers=workers)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "threads"), [*((name, 1) for name in WORK), ("fit", 2), ("predict", 2)])
def test_a_program_ends_while_a_daemon_thread_is_at_work(name: str, threads: int) -> None:
    assert status_of(WORK[name], threads) == (7, "ends\n")


def test_a_program_ends_while_several_daemon_threads_are_at_work() -> None:
    assert status_of(WORK["predict"], 2, workers=3) == (7, "ends\n")


#: The C library calls usleep after the interpreter has ended, while threads still request its lock.
ENDS_LATE = """
import ctypes
libc = ctypes.CDLL(None)
libc.__cxa_atexit(libc.usleep, ctypes.c_void_p(500_000), None)
print("ends")
"""


@pytest.mark.slow
def test_a_thread_that_asks_for_the_lock_after_the_interpreter_has_ended_waits() -> None:
    """One in three of these used to crash. Not run in parallel, which makes lock requests rarer."""
    new = "nc.Trainer(nc.mlp([3, 16, 2], output='softmax', seed=0), 'cross_entropy')"
    work = f"{new}.fit(X, Y, epochs=50, batch_size=4, progress=False)"
    code = SETUP.format(work=work, threads=1, workers=6).replace('print("ends")', ENDS_LATE)
    for _ in range(10):
        assert (
            subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode
            == 7
        )


IN_ANOTHER_INTERPRETER = """
import sys
try:
    import _xxsubinterpreters as interpreters
except ImportError:
    import _interpreters as interpreters
{before}
other = interpreters.create()
try:
    interpreters.run_string(other, {code!r})
except Exception as error:
    print("error:", error)
{after}
"""


@pytest.mark.parametrize("before", ["", "import nncore"])
@pytest.mark.parametrize("name", ["nncore", "nncore._core", "nncore.functional"])
def test_a_sub_interpreter_gets_an_import_error(name: str, before: str) -> None:
    code = f"try:\n    import {name}\nexcept ImportError as error:\n    print('ImportError:', error)"
    after = "import nncore as nc; print(nc.mlp([2, 1], seed=0).predict([[0.0, 0.0]]).shape)"
    program = IN_ANOTHER_INTERPRETER.format(code=code, before=before, after=after)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert "ImportError: nncore must be imported in the main interpreter" in done.stdout, done.stderr
    assert done.stdout.endswith("(1, 1)\n")
    assert done.returncode == 0
