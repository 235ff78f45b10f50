"""NumPy, with the network of nncore._cli.numpy_net."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from nncore._cli import workloads
from nncore._cli.bench import blas, make_numpy_net
from nncore._cli.numpy_net import NumpyNet
from nncore._cli.workloads import Workload

from ..functions import sigmoid, softmax
from ..job import Job, Peer, batches, check_training, repeated, sample
from . import numpy_functions


def check(net: NumpyNet, steps: list) -> dict[str, list[float]]:
    """The numbers that are compared with the reference, or the numbers of the reference."""
    losses = (net.step(x, y) for x, y in steps)
    return check_training(losses, lambda: [layer.weight for layer in net.layers])


def train_epoch(net: NumpyNet, x: Any, y: Any, batch: int) -> float:
    """Trains for one epoch over shuffled rows; returns the mean loss."""
    order = np.random.default_rng(net.steps).permutation(len(x))
    x_batch, y_batch = np.empty((batch, x.shape[1]), x.dtype), np.empty((batch, *y.shape[1:]), y.dtype)
    total = 0.0
    for start in range(0, len(x), batch):
        rows = order[start : start + batch]
        # The default, mode="raise", would buffer the result.
        np.take(x, rows, axis=0, out=x_batch, mode="clip")
        np.take(y, rows, axis=0, out=y_batch, mode="clip")
        total += net.step(x_batch, y_batch)
    return total / (len(x) // batch)


def epoch(workload: Workload) -> Job:
    """A loop in Python."""
    x, y = workloads.data(workload, workload.batch * workload.batches)
    net = make_numpy_net(workload, workload.batch)
    found = check(net, batches(workload, x, y))
    run = partial(train_epoch, net, x, y, workload.batch)
    return Job(run, workload.batches, check={**found, "epoch loss": [run()]})


def step(workload: Workload) -> Job:
    """One step on one batch."""
    x, y = workloads.data(workload, workload.batch)
    net = make_numpy_net(workload, workload.batch)
    return Job(partial(net.step, x, y), check=check(net, [(x, y)] * 3))


def predict(workload: Workload, rows: int) -> Job:
    """The forward pass."""
    x, _ = workloads.data(workload, rows)
    net = make_numpy_net(workload, rows)
    return Job(partial(net.forward, x), check={"outputs": sample(net.forward(x))})


def reference(mode: str, workload: Workload, rows: int = 0) -> dict[str, list[float]]:
    """The reference for all sides, computed in float64."""
    if mode == "predict":
        x, _ = workloads.data(workload, rows)
        outputs = make_numpy_net(workload, rows, np.float64).forward(x.astype(np.float64))
        link = softmax if workload.loss == "softmax_cross_entropy" else sigmoid
        return {"outputs": sample(outputs), "probabilities": sample(link(outputs))}
    count = workload.batches if mode == "epoch" else 1
    x, y = workloads.data(workload, workload.batch * count)
    x = x.astype(np.float64)
    steps = batches(workload, x, y) if mode == "epoch" else [(x, y)] * 3
    net = make_numpy_net(workload, workload.batch, np.float64)
    found = check(net, steps)
    if mode == "epoch":
        found["epoch loss"] = [train_epoch(net, x, y, workload.batch)]
    return found


def peer(variant: str, threads: int) -> Peer:
    """NumPy."""
    versions = {"numpy": f"{np.__version__} ({blas()})"}
    modes = {
        "epoch": epoch,
        "step": step,
        "predict": predict,
        "matmul": numpy_functions.matmul,
        "functional": numpy_functions.functional,
        "fit": partial(repeated, epoch),
    }
    return Peer(versions, modes)
