"""NumPy: the network of nncore.numpy_net."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from nncore import workloads
from nncore.numpy_net import NumpyNet
from nncore.workloads import Workload

from ..job import Job, Peer, batches, check_training, repeated, sample
from . import numpy_functions


def make_net(workload: Workload, rows: int, dtype: Any = np.float32) -> NumpyNet:
    """The workload's network."""
    weights, biases = workloads.initial_parameters(workload)
    return NumpyNet(
        weights,
        biases,
        activation=workload.activation,
        output=workload.output,
        loss=workload.loss,
        optimizer=workload.optimizer,
        learning_rate=workload.learning_rate,
        rows=rows,
        dtype=dtype,
    )


def check(net: NumpyNet, steps: list) -> dict[str, list[float]]:
    """The numbers compared with the reference, or those of the reference."""
    losses = (net.step(x, y) for x, y in steps)
    return check_training(losses, lambda: [layer.weight for layer in net.layers])


def train_epoch(net: NumpyNet, x: Any, y: Any, batch: int) -> float:
    """One epoch over shuffled rows; the mean loss."""
    order = np.random.default_rng(net.steps).permutation(len(x))
    x_batch, y_batch = np.empty((batch, x.shape[1]), x.dtype), np.empty((batch, *y.shape[1:]), y.dtype)
    total = 0.0
    for start in range(0, len(x), batch):
        rows = order[start : start + batch]
        # mode="raise", the default, would buffer the result.
        np.take(x, rows, axis=0, out=x_batch, mode="clip")
        np.take(y, rows, axis=0, out=y_batch, mode="clip")
        total += net.step(x_batch, y_batch)
    return total / (len(x) // batch)


def epoch(workload: Workload) -> Job:
    """A loop in Python."""
    x, y = workloads.data(workload, workload.batch * workload.batches)
    net = make_net(workload, workload.batch)
    found = check(net, batches(workload, x, y))
    run = partial(train_epoch, net, x, y, workload.batch)
    return Job(run, workload.batches, check={**found, "epoch loss": [run()]})


def step(workload: Workload) -> Job:
    """One step on one batch."""
    x, y = workloads.data(workload, workload.batch)
    net = make_net(workload, workload.batch)
    return Job(partial(net.step, x, y), check=check(net, [(x, y)] * 3))


def predict(workload: Workload, rows: int) -> Job:
    """The forward pass."""
    x, _ = workloads.data(workload, rows)
    net = make_net(workload, rows)
    return Job(partial(net.forward, x), check={"outputs": sample(net.forward(x))})


def reference(mode: str, workload: Workload, rows: int = 0) -> dict[str, list[float]]:
    """What every side must find: the same in float64."""
    if mode == "predict":
        x, _ = workloads.data(workload, rows)
        return {"outputs": sample(make_net(workload, rows, np.float64).forward(x.astype(np.float64)))}
    count = workload.batches if mode == "epoch" else 1
    x, y = workloads.data(workload, workload.batch * count)
    x = x.astype(np.float64)
    steps = batches(workload, x, y) if mode == "epoch" else [(x, y)] * 3
    net = make_net(workload, workload.batch, np.float64)
    found = check(net, steps)
    if mode == "epoch":
        found["epoch loss"] = [train_epoch(net, x, y, workload.batch)]
    return found


def blas() -> str:
    """Which kernels the products run on."""
    from threadpoolctl import threadpool_info

    return ", ".join(
        f"{info['internal_api']} {info['version']} {info.get('architecture', '')}, {info['num_threads']} thread"
        for info in threadpool_info()
        if info["user_api"] == "blas"
    )


def peer(variant: str, threads: int) -> Peer:
    """The library."""
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
