"""EarlyStopping and Checkpoint over several fits of a trainer, NaN values, and messages."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nncore as nc
from small_trainers import fit, make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "last.safetensors"


class Planned(nc.Callback):
    """Sets the values that another callback monitors."""

    def __init__(self, plan: list[float]) -> None:
        self.plan = plan

    def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
        logs["val_loss"] = self.plan[trainer.history.epochs - 1]


# A second fit -------------------------------------------------------------------------------------------


def test_a_second_fit_goes_on_with_best_value_patience_and_weights(tmp_path: Path) -> None:
    """Single-epoch fits equal one long fit and find the same best weights."""
    trainer, stopping = make(), nc.EarlyStopping(5, restore_best=False)
    fit(trainer, 300, stopping, nc.Checkpoint(tmp_path / "best"))
    assert 6 < trainer.history.epochs < 300
    other, again = make(), nc.EarlyStopping(5, restore_best=False)
    saving = nc.Checkpoint(tmp_path / "other")
    while other.history.epochs < trainer.history.epochs:
        fit(other, 1, again, saving)
    assert (again.best.value, again.best_epoch) == (stopping.best.value, stopping.best_epoch)
    assert again.best_epoch == trainer.history.epochs - 5
    parameters = [nc.load(tmp_path / name).parameters for name in ("best", "other")]
    assert np.array_equal(*parameters)


def test_the_best_weights_of_the_first_fit_come_back_after_the_second() -> None:
    trainer, stopping = make(), nc.EarlyStopping(9)
    fit(trainer, 5, stopping)
    best, value = trainer.model.parameters.copy(), stopping.best.value
    trainer.optimizer.learning_rate = 5.0
    fit(trainer, 3, stopping)
    assert np.array_equal(trainer.model.parameters, best)
    assert (stopping.best.value, stopping.best_epoch) == (value, 5)


def test_a_fit_after_the_end_of_patience_makes_an_epoch_at_least() -> None:
    trainer, stopping = make(), nc.EarlyStopping(3)
    plan = Planned([2, 1, 9, 9, 9, 9, 0.5, 0.4, 0.3, 9, 9, 9])
    for epochs in (5, 6, 12):  # the third fit finds something better
        fit(trainer, 50, plan, stopping)
        assert trainer.history.epochs == epochs
    assert stopping.best_epoch == 9


def test_the_best_file_of_the_first_fit_stays(path: Path) -> None:
    trainer, saving = make(), nc.Checkpoint(path)
    fit(trainer, 3, saving)
    before = path.read_bytes()
    trainer.optimizer.learning_rate = 5.0
    fit(trainer, 2, saving)
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", ["another trainer", "another history"])
def test_other_runs_are_forgotten(path: Path, change: str) -> None:
    trainer, stopping = make(), nc.EarlyStopping(3)
    trainer.save(path)
    fit(trainer, 20, stopping)
    known = stopping.best.value
    if change == "another trainer":
        trainer = make(seed=1)
    else:
        trainer.restore(path)
        trainer.optimizer.learning_rate = 0.0
    fit(trainer, 2, stopping)
    assert stopping.best.value == min(trainer.history["val_loss"]) > known
    assert stopping.best_epoch == 1 if change == "another history" else 2


def test_a_fit_that_trains_nothing_changes_nothing() -> None:
    trainer, stopping = make(), nc.EarlyStopping(3)
    fit(trainer, 5, stopping)
    trainer.model.parameters = np.ones_like(trainer.model.parameters)
    with pytest.raises(ValueError, match="monitor must be one of"):
        fit(trainer, 1, stopping, nc.EarlyStopping(1, "no_loss"))
    assert (trainer.model.parameters == 1).all()


@pytest.mark.parametrize("way", [lambda pair: pickle.loads(pickle.dumps(pair)), copy.deepcopy])
def test_copies_of_a_callback_know_what_it_knew(way: Any) -> None:
    trainer, stopping = make(), nc.EarlyStopping(3)
    fit(trainer, 4, stopping)
    other = way(stopping)
    assert (other.best.value, other.best_epoch) == (stopping.best.value, stopping.best_epoch)
    assert other.state().keys() == stopping.state().keys()


# NaN, and what is said ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "epochs", "best"),
    [
        ([math.nan] * 6, 6, None),
        ([1, math.nan, math.nan, math.nan, math.nan, 2, 2], 7, 1),
        ([1, 2, math.nan, math.nan, math.nan, 2, 0], 6, 1),
        ([math.nan, math.nan, 3, math.nan, 2, math.nan], 6, 5),
    ],
)
def test_nan_never_counts_as_patience(plan: list[float], epochs: int, best: int | None) -> None:
    trainer, stopping = make(), nc.EarlyStopping(2)
    fit(trainer, len(plan), Planned(plan), stopping)
    assert (trainer.history.epochs, stopping.best_epoch) == (epochs, best)


@pytest.mark.parametrize("progress", ["auto", True])
def test_early_stopping_says_which_epoch_it_went_back_to(progress: Any, capsys: Any) -> None:
    trainer, stopping = make(), nc.EarlyStopping(2)
    fit(trainer, 6, Planned([3, 2, 1.25, 4, 5, 6]), stopping, progress=progress)
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert lines[-1] == "EarlyStopping restored epoch 3, val_loss 1.25"
    assert "epoch 5/6" in lines[-2]
    assert stopping.best_epoch == 3


def test_nothing_is_said_where_nothing_is_shown(capsys: Any) -> None:
    trainer = make()
    fit(trainer, 4, nc.EarlyStopping(1))
    trainer.say("after the fit")
    assert capsys.readouterr().err == ""


def test_callbacks_of_ones_own_may_say_something(capsys: Any) -> None:
    class Talks(nc.Callback):
        def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
            trainer.say(f"seen {trainer.history.epochs}")

    fit(make(), 2, Talks(), progress="auto")
    shown = [line.partition(" ")[0] for line in capsys.readouterr().err.splitlines()]
    assert shown == ["epoch", "seen", "epoch", "seen"]
