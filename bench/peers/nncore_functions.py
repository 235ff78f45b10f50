"""The functions of nncore.functional."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from nncore import functional as F

from ..functions import LOSSES, arguments, results
from ..job import Job


def matmul(function: str, shape: Sequence[int]) -> Job:
    """A product, as dense_forward without a bias; its weight is (outputs, inputs)."""
    left, right = arguments(function, shape).values()
    out = np.empty((len(left), right.shape[1]), np.float32)
    run = partial(F.dense_forward, left, right.T, out=out)
    return Job(run, check=results(run()))


def functional(function: str, shape: Sequence[int]) -> Job:
    """One call that writes into existing arrays."""
    given = arguments(function, shape)
    name, _, activation = function.partition(" ")
    call: Any
    if "weight" in given:
        given["weight"] = given["weight"].T  # (O, I)
    if name == "dense_forward":
        out = np.empty((len(given["x"]), len(given["weight"])), np.float32)
        call = partial(F.dense_forward, activation=activation, out=out)
    elif name == "dense_backward":
        x, weight = given["x"], given["weight"]
        grads = (
            np.empty_like(x),
            np.empty(weight.shape[::-1], np.float32).T,
            np.empty(len(weight), np.float32),
        )
        call = partial(F.dense_backward, out=grads)
    else:
        name = f"{name}_and_gradient" if name in LOSSES else name
        call = partial(getattr(F, name), out=np.empty_like(next(iter(given.values()))))
    run = partial(call, *given.values())
    found = run()
    if name == "dense_backward":
        found = found[0], found[1].T, found[2]
    return Job(run, check=results(found))
