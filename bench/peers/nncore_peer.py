"""nncore, through its public interface."""

from __future__ import annotations

from functools import partial

import nncore as nc
import numpy as np
from nncore import workloads
from nncore.workloads import Workload

from ..job import Job, Peer, batches, check_training, sample


def make_model(workload: Workload) -> nc.Model:
    """The workload's network with the parameters that every side starts from."""
    model = nc.mlp(workload.sizes, workload.activation, workload.output, seed=0)
    parameters = zip(*workloads.initial_parameters(workload), strict=True)
    for layer, (weight, bias) in zip(dense_layers(model), parameters, strict=True):
        layer.weight[...], layer.bias[...] = weight.T, bias
    return model


def dense_layers(model: nc.Model) -> list[nc.Dense]:
    """The layers that have parameters."""
    return [layer for layer in model if isinstance(layer, nc.Dense)]


def make_trainer(workload: Workload) -> nc.Trainer:
    """Its training."""
    optimizer = nc.SGD(workload.learning_rate) if workload.optimizer == "sgd" else nc.Adam(workload.learning_rate)
    return nc.Trainer(make_model(workload), workload.loss, optimizer)


def check(trainer: nc.Trainer, steps: list) -> dict[str, list[float]]:
    """The numbers compared with the reference."""
    layers = dense_layers(trainer.model)
    losses = (trainer.step(x, y) for x, y in steps)
    return check_training(losses, lambda: [layer.weight.T for layer in layers])


def epoch(workload: Workload) -> Job:
    """Trainer.fit for one epoch, shuffled."""
    x, y = workloads.data(workload, workload.batch * workload.batches)
    trainer = make_trainer(workload)
    found = check(trainer, batches(workload, x, y))
    fit = partial(trainer.fit, x, y, epochs=1, batch_size=workload.batch, progress=False)
    found["epoch loss"] = [fit()["loss"][-1]]
    return Job(fit, workload.batches, check=found)


def step(workload: Workload) -> Job:
    """Trainer.step."""
    x, y = workloads.data(workload, workload.batch)
    trainer = make_trainer(workload)
    return Job(partial(trainer.step, x, y), check=check(trainer, [(x, y)] * 3))


def predict(workload: Workload, rows: int) -> Job:
    """Model.predict with out."""
    x, _ = workloads.data(workload, rows)
    model = make_model(workload)
    out = np.empty((rows, workload.sizes[-1]), np.float32)
    return Job(partial(model.predict, x, out), check={"outputs": sample(model.predict(x, out))})


def peer(variant: str, threads: int) -> Peer:
    """The library."""
    nc.set_num_threads(threads)
    config = nc.show_config()
    versions = {"nncore": f"{config['version']} on {config['instruction_set']}"}
    return Peer(versions, {"epoch": epoch, "step": step, "predict": predict})
