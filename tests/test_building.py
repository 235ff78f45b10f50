"""Models of many nodes: building, saving, loading and copying take linear time."""

from __future__ import annotations

import copy
import pickle
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nncore as nc


def expression(n: int) -> nc.Model:
    """A nested expression of sums and products."""
    x = value = nc.Input(2)
    for i in range(n):
        value = value + x if i % 2 else value * x
    return nc.Model(x, value, seed=0)


def line(n: int) -> nc.Model:
    return nc.Sequential([layer for _ in range(n // 2) for layer in (nc.Dense(2, 2), nc.Tanh())], seed=0)


def one_layer(n: int) -> nc.Model:
    return nc.Sequential([nc.Dense(2, 2)] * n, seed=0)


def tied(n: int) -> nc.Model:
    layers = [nc.Dense(2, 2) for _ in range(n // 2)]
    return nc.Sequential([layer for source in layers for layer in (source, source.transposed())], seed=0)


def named(n: int) -> nc.Model:
    return nc.Sequential([nc.BatchNorm(2, name=f"layer{i}") for i in range(n)], seed=0)


def inputs(n: int) -> nc.Model:
    values = [nc.Input(2) for _ in range(n)]
    return nc.Model(values, nc.Dense(2 * n, 1)(nc.Concatenate()(*values)), seed=0)


def outputs(n: int) -> nc.Model:
    x = nc.Input(2)
    return nc.Model(x, [nc.Dense(2, 2)(x) for _ in range(n)], seed=0)


def nested(n: int) -> nc.Model:
    return nc.Sequential([nc.Sequential(nc.Dense(2, 2), nc.Tanh()) for _ in range(n // 2)], seed=0)


def tangents(n: int) -> nc.Model:
    x, direction = nc.Input(2), nc.Input(2)
    value = x
    for _ in range(n // 4):
        value = nc.Tanh()(value + x)
    return nc.Model([x, direction], nc.jvp(value, x, direction), seed=0)


QUICK, OTHERS = [expression, line, one_layer], [tied, named, inputs, outputs, nested, tangents]


def saved(model: nc.Model, path: Path) -> nc.Model:
    model.save(path)
    return nc.load(path)


def use(model: nc.Model) -> Any:
    x = [np.ones((3, width), np.float32) for width in model.input_widths]
    return model.predict(x if len(x) > 1 else x[0])


def calls(action: Callable[[], object]) -> int:
    """The number of Python and C functions that an action calls."""
    count = 0

    def note(*_: Any) -> None:
        nonlocal count
        count += 1

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


WAYS: dict[str, Callable[[nc.Model, Path], object]] = {
    "names": lambda model, _: [model[name] for name in model.layer_names] + list(model.named_arrays()),
    "print": lambda model, _: str(model),
    "use": lambda model, _: use(model),
    "file": saved,
    "copy": lambda model, _: model.copy(),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, _: copy.deepcopy(model),
}


@pytest.mark.parametrize("make", QUICK + OTHERS)
def test_twice_the_nodes_are_twice_the_calls(make: Callable[[int], nc.Model], tmp_path: Path) -> None:
    make(8)
    assert calls(lambda: make(400)) < 2.5 * calls(lambda: make(200))
    few, many = make(200), make(400)
    for way in WAYS.values():
        way(few, tmp_path / "file")  # warms up imports and caches
        of_few, of_many = (calls(partial(way, model, tmp_path / "file")) for model in (few, many))
        assert of_many < 2.5 * of_few


@pytest.mark.parametrize("make", [*QUICK, *(pytest.param(make, marks=pytest.mark.slow) for make in OTHERS)])
def test_20000_nodes_are_a_matter_of_seconds(make: Callable[[int], nc.Model], tmp_path: Path) -> None:
    """Quadratic time would take minutes; the limit allows for slow machines."""
    begin = time.thread_time()
    model = make(20_000)
    expected = use(model)
    loaded = saved(model, tmp_path / "file")
    assert time.thread_time() - begin < 30
    for found, wanted in zip(use(loaded), expected, strict=True):
        assert np.array_equal(found, wanted, equal_nan=True)


def test_a_gradient_through_20000_nodes() -> None:
    model = line(20_000)
    x = np.ones((3, 2), np.float32)
    assert np.isfinite(model.loss_and_gradients(x, x, "half_squared_error"))
    assert np.any(model.gradients)


def test_the_summary_shows_the_first_of_many_that_one_reads() -> None:
    text = str(inputs(3000))
    assert "input_8, ... (3000)" in text
    assert len(text) < 10**6


def test_models_nest_deeply(tmp_path: Path) -> None:
    model = nc.Sequential(nc.Dense(2, 2), seed=0)
    for _ in range(300):
        model = nc.Sequential(model)
    for duplicate in (
        saved(model, tmp_path / "file"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        assert np.array_equal(use(duplicate), use(model))
        assert list(duplicate.named_parameters()) == list(model.named_parameters())
