"""Kills training runs with SIGKILL at random moments and resumes them: `python tests/kills.py 500`.

Each run is killed repeatedly, by its parent at any time or by itself at a random line of reading or writing a
file. After each kill, all files must be readable. The run that finally completes must end with the hash of an
uninterrupted run, taken over parameters, statistics, moments, history, best file and callback states.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

import nncore as nc

EPOCHS = 30
RANDOM = np.random.default_rng(0)
X, XV = RANDOM.standard_normal((96, 8)), RANDOM.standard_normal((48, 8))
Y, YV = np.sin(X @ X[0]), np.sin(XV @ X[0])
MOST_LINES = 400  # lines executed by a restore and some saves


class Memory(nc.Callback):
    """A callback whose state has numbers, strings and arrays, and influences training."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.mean = np.zeros(3)
        self.kinds: dict[Any, Any] = {"falls": 0, 1: ("a", -np.inf)}

    def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
        falls = bool(self.losses) and logs["loss"] < self.losses[-1]
        self.losses = [*self.losses[-4:], logs["loss"]]
        self.mean = 0.9 * self.mean + trainer.model.parameters[:3]
        self.kinds["falls"] += falls
        if self.kinds["falls"] % 7 == 6:
            trainer.optimizer.learning_rate *= 0.8

    def state(self) -> dict[str, Any]:
        return vars(self)

    def load_state(self, state: Any) -> None:
        vars(self).update(state)


class Autosave(nc.Callback):
    """Saves from a thread as often as possible until the fit ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done = threading.Event()

    def on_fit_begin(self, trainer: nc.Trainer, logs: Any) -> None:
        self._thread = threading.Thread(target=self._save, args=(trainer,))
        self._thread.start()

    def on_fit_end(self, trainer: nc.Trainer, logs: Any) -> None:
        self._done.set()
        self._thread.join()

    def _save(self, trainer: nc.Trainer) -> None:
        while not self._done.wait(0.002):
            trainer.save(self._path)


def make() -> nc.Trainer:
    layers = (
        nc.Dense(8, 96),
        nc.BatchNorm(96),
        nc.ReLU(),
        nc.Dropout(0.2),
        nc.Dense(96, 96),
        nc.Tanh(),
        nc.Dense(96, 1),
    )
    steps = EPOCHS * 6
    optimizer = nc.AdamW(
        3e-3, schedule=nc.cosine_decay(steps, warmup_steps=5), transforms=[nc.moving_average(0.9)]
    )
    return nc.Trainer(nc.Sequential(*layers, seed=0), "mean_squared_error", optimizer)


def train(folder: Path, kind: int) -> str:
    """Trains to the end, from the last file if there is one, and returns the hash of the final state.

    `kind` is the position of the saving callback among the callbacks, or -1 for a saving thread.
    """
    last, best = folder / "last", folder / "best"
    trainer, memory, stopping = make(), Memory(), nc.EarlyStopping(8)
    callbacks: list[nc.Callback] = [memory, stopping, nc.Checkpoint(best)]
    saving = Autosave(last) if kind < 0 else nc.Checkpoint(last, None)
    callbacks.insert(kind if kind >= 0 else len(callbacks), saving)
    if last.exists():
        trainer.restore(last)
    trainer.fit(
        X, Y, EPOCHS - trainer.history.epochs, 16,
        validation_data=(XV, YV), progress=False, callbacks=callbacks,
    )  # fmt: skip
    return digest(trainer, memory, stopping, nc.load(best))


def digest(trainer: nc.Trainer, memory: Memory, stopping: nc.EarlyStopping, best: nc.Model) -> str:
    sha = sha256()
    state = trainer.optimizer.state(trainer.model.store)
    for array in (trainer.model.parameters, trainer.model.store.core.state, best.parameters, memory.mean):
        sha.update(array.tobytes())
    for slot in sorted(state.slots):
        sha.update(state.slots[slot].tobytes())
    columns = {name: trainer.history[name] for name in trainer.history if name != "seconds"}
    known = stopping.best.value, stopping.best_epoch, memory.losses, memory.kinds
    sha.update(repr((state.steps, trainer.optimizer.settings, columns, known)).encode())
    return sha.hexdigest()


# Killing ------------------------------------------------------------------------------------------------


def kill_at_a_line(line: int) -> None:
    """Kills this process after it has executed `line` lines of the module that reads and writes files."""
    count = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.endswith("_safetensors.py"):
            return None
        count += event == "line"
        if count == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)


def start(folder: Path, kind: int, line: int | None) -> int:
    """Starts a child that trains, writes the hash to a file, and may kill itself; returns its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        if line is not None:
            kill_at_a_line(line)
        (folder / "result").write_text(train(folder, kind))
        status = 0
    finally:
        os._exit(status)


def wait(child: int, seconds: float) -> bool:
    """Waits for a child and kills it after `seconds`. Returns whether it was killed; raises if it failed."""
    end = time.monotonic() + seconds
    found, status = os.waitpid(child, os.WNOHANG)
    while not found:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            found, status = os.waitpid(child, 0)
            break
        time.sleep(0.0005)
        found, status = os.waitpid(child, os.WNOHANG)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, "the run failed"
        return False
    assert os.WTERMSIG(status) == signal.SIGKILL
    return True


def check_files(folder: Path, counts: Counter[str]) -> None:
    """Checks that every file under its final name can be read."""
    for name in ("last", "best"):
        if (folder / name).exists():
            nc.load(folder / name)
            counts["files read"] += 1
    counts["kills within a save"] += any(path.suffix == ".tmp" for path in folder.iterdir())


def one_run(draw: random.Random, kind: int, seconds: float, most: int, counts: Counter[str]) -> str:
    """Kills and resumes one run until it ends or the kills reach `most`; returns its hash."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        while counts["kills"] < most:
            line = draw.randrange(1, MOST_LINES) if draw.random() < 0.4 else None
            if not wait(start(folder, kind, line), draw.uniform(0.0, 0.6 * seconds)):
                break
            counts["kills"] += 1
            counts["runs set to kill themselves at a line"] += line is not None
            check_files(folder, counts)
        else:
            assert not wait(start(folder, kind, None), 600.0)
        assert {path.name for path in folder.iterdir()} == {"best", "last", "result"}, (
            "temporary files are left"
        )
        return (folder / "result").read_text()


def main(kills: int, seed: int) -> Counter[str]:
    """Makes `kills` kills and returns the counts. Raises AssertionError if a hash differs."""
    nc.set_num_threads(1)
    draw, counts = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        expected = train(Path(name), 0)
    with tempfile.TemporaryDirectory() as name:
        begin = time.monotonic()
        assert not wait(start(Path(name), 3, None), 600.0)
        seconds = time.monotonic() - begin
    while counts["kills"] < kills:
        kind = draw.randrange(-1, 4)
        assert one_run(draw, kind, seconds, kills, counts) == expected, f"the hash differs, saving at {kind}"
        counts["runs"] += 1
        if sys.stderr.isatty():
            print(f"{counts['kills']} kills", end="\r", file=sys.stderr)
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for what, number in main(given.kills, given.seed).items():
        print(f"{number:6} {what}")
    print("every run ended with the hash of the uninterrupted run")
