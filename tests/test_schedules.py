"""Schedules: the factor of each step's learning rate, in every way to train and after resuming."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nncore as nc

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
Y = X.sum(axis=1, keepdims=True)


def trainer(optimizer: nc.Optimizer, loss: Any = "half_squared_error") -> nc.Trainer:
    return nc.Trainer(nc.mlp([3, 8, 1], activation="tanh", seed=0), loss, optimizer)


@pytest.mark.parametrize(("total", "warmup", "final"), [(100, 0, 0.0), (1000, 30, 0.1), (7, 3, 2.0)])
def test_cosine_decay_follows_its_formula(total: int, warmup: int, final: float) -> None:
    schedule = nc.cosine_decay(total, warmup_steps=warmup, final=final)
    for step in range(total + 10):
        progress = min(1.0, (step - warmup) / (total - warmup))
        wave = final + (1.0 - final) * (1.0 + math.cos(math.pi * progress)) / 2.0
        expected = (step + 1) / warmup if step < warmup else wave
        factor = schedule(step)
        assert isinstance(factor, float)
        assert abs(factor - expected) <= 4e-16 * max(1.0, final)
    assert schedule(10 * total) == final


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"total_steps": 0}, "total_steps must be more than warmup_steps, 0; got 0"),
        ({"total_steps": 5, "warmup_steps": 5}, "total_steps must be more than warmup_steps, 5; got 5"),
        ({"total_steps": 5, "warmup_steps": -1}, "warmup_steps must be at least 0; got -1"),
        ({"total_steps": 5, "final": -0.5}, "final must be a finite number of at least 0; got -0.5"),
        ({"total_steps": 5, "final": math.nan}, "final must be a finite number of at least 0; got nan"),
    ],
)
def test_arguments_of_cosine_decay(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nc.cosine_decay(**arguments)


def python_loss(output: Any, y: Any) -> tuple[float, Any]:
    return float(np.mean((output - y) ** 2) / 2), (output - y) / len(y)


def halving(step: int) -> float:
    return 0.5 ** (step // 3)


@pytest.mark.parametrize("loss", ["half_squared_error", python_loss])
@pytest.mark.parametrize("make", [nc.SGD, nc.Adam, lambda **options: nc.AdamW(weight_decay=0.5, **options)])
def test_every_way_of_training_asks_the_schedule_for_its_step(make: Any, loss: Any) -> None:
    by_hand, fitted, stepped, pieces = (trainer(make(), loss) for _ in range(4))
    for other in (fitted, stepped, pieces):
        other.optimizer.schedule = halving
    base = by_hand.optimizer.learning_rate
    for step in range(8):
        rows = slice(10 * (step % 4), 10 * (step % 4) + 10)
        by_hand.optimizer.learning_rate = base * halving(step)
        by_hand.step(X[rows], Y[rows])
        stepped.step(X[rows].tolist() if step % 2 else X[rows], Y[rows])
        pieces.model.loss_and_gradients(X[rows], Y[rows], loss)
        pieces.optimizer.step(pieces.model)
    fitted.fit(X, Y, epochs=2, batch_size=10, shuffle=False, progress=False)
    for other in (fitted, stepped, pieces):
        assert np.array_equal(other.model.parameters, by_hand.model.parameters)
        assert other.optimizer.learning_rate == base
    assert fitted.history["learning_rate"] == [base * 0.5, base * 0.25]


def test_a_schedule_may_tell_the_weight_decay_too() -> None:
    plain, scheduled = trainer(nc.AdamW(0.01, weight_decay=0.2)), trainer(nc.AdamW(0.01, weight_decay=0.4))
    scheduled.optimizer.schedule = lambda step: {"weight_decay": 0.5}
    for one in (plain, scheduled):
        one.fit(X, Y, epochs=2, progress=False)
    assert np.array_equal(plain.model.parameters, scheduled.model.parameters)
    scheduled.optimizer.schedule = lambda step: {"momentum": 0.5}
    with pytest.raises(ValueError, match=r"schedule must return a number, or a dict of .*; got {'momentum'}"):
        scheduled.fit(X, Y, progress=False)


def test_a_factor_of_1_changes_no_bit() -> None:
    plain, scheduled = trainer(nc.Adam()), trainer(nc.Adam(schedule=lambda step: 1))
    for one in (plain, scheduled):
        one.fit(X, Y, epochs=2, progress=False)
    assert np.array_equal(plain.model.parameters, scheduled.model.parameters)
    assert "learning_rate" not in plain.history


@pytest.mark.parametrize("bad", [-0.5, math.nan, math.inf])
def test_a_factor_out_of_range_changes_nothing(bad: float) -> None:
    one = trainer(nc.SGD(schedule=lambda step: bad if step == 2 else 1.0))
    one.step(X, Y)
    before = one.model.parameters.copy()
    with pytest.raises(ValueError, match="the factor of learning_rate must be a finite number of at least 0"):
        one.fit(X, Y, epochs=1, batch_size=10, progress=False)
    assert np.array_equal(one.model.parameters, before)


@pytest.mark.parametrize(
    "schedule", [halving, nc.cosine_decay(12, warmup_steps=3)], ids=["function", "cosine"]
)
def test_a_resumed_run_goes_on_at_its_step(schedule: Callable[[int], float], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    whole, first, second = (trainer(nc.Adam(0.05, schedule=schedule)) for _ in range(3))
    whole.fit(X, Y, epochs=3, batch_size=10, progress=False)
    first.fit(X, Y, epochs=1, batch_size=10, progress=False)
    first.save(path)
    second.restore(path)
    second.fit(X, Y, epochs=2, batch_size=10, progress=False)
    assert np.array_equal(second.model.parameters, whole.model.parameters)
    assert second.history["learning_rate"] == whole.history["learning_rate"]


def test_a_learning_rate_that_a_tick_sets_applies_from_the_next_step() -> None:
    one, by_hand = trainer(nc.SGD(0.1)), trainer(nc.SGD(0.1))
    samples = one.objective.read(X, Y, None)

    def tick(steps: int, loss: float) -> None:
        if steps == 1:  # a tick follows the first step
            one.optimizer.learning_rate = 0.01

    one.objective.train_epoch(samples, one.optimizer, 10, None, tick)
    for step in range(4):
        by_hand.step(X[10 * step : 10 * step + 10], Y[10 * step : 10 * step + 10])
        by_hand.optimizer.learning_rate = 0.01
    assert np.array_equal(one.model.parameters, by_hand.model.parameters)
