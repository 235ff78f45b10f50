"""nncore, through its public interface."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np

import nncore as nc
from nncore._cli import workloads
from nncore._cli.bench import dense_layers, make_model, make_trainer, set_parameters
from nncore._cli.workloads import Workload

from .. import hidden as hidden_layers
from ..job import Job, Peer, batches, check_training, sample
from . import nncore_functions


def check(trainer: nc.Trainer, steps: list) -> dict[str, list[float]]:
    """The numbers that are compared with the reference."""
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


HIDDEN = {
    "tanh": lambda width: [nc.Tanh()],
    "leaky_relu": lambda width: [nc.LeakyReLU()],
    "gelu": lambda width: [nc.GELU()],
    "silu": lambda width: [nc.SiLU()],
    "dropout": lambda width: [nc.ReLU(), nc.Dropout(hidden_layers.RATE)],
    "batch_norm": lambda width: [nc.BatchNorm(width), nc.ReLU()],
}


def layers(workload: Workload, hidden: str) -> Job:
    """Trainer.step with other hidden layers."""
    x, y = workloads.data(workload, workload.batch)
    line: list[nc.Layer] = []
    for inputs, outputs in pairwise(workload.sizes):
        line += HIDDEN[hidden](inputs) if line else []
        line.append(nc.Dense(inputs, outputs, weight_initializer=nc.Zeros()))
    trainer = nc.Trainer(nc.Sequential(*line, seed=0), workload.loss, nc.Adam(workload.learning_rate))
    set_parameters(trainer.model, workload)
    first = trainer.step(x, y)
    return Job(partial(trainer.step, x, y), check={} if hidden == "dropout" else {"losses": [first]})


def predict(workload: Workload, rows: int) -> Job:
    """Model.predict with out."""
    x, _ = workloads.data(workload, rows)
    model = make_model(workload)
    out = np.empty((rows, workload.sizes[-1]), np.float32)
    return Job(partial(model.predict, x, out), check={"outputs": sample(model.predict(x, out))})


def fit(workload: Workload, epochs: int) -> Job:
    """Trainer.fit for several epochs."""
    x, y = workloads.data(workload, workload.batch * workload.batches)
    run = partial(make_trainer(workload).fit, x, y, epochs=epochs, batch_size=workload.batch, progress=False)
    return Job(run, workload.batches * epochs)


def train_epoch(workload: Workload, epochs: int) -> Job:
    """The call that Trainer.fit makes for each epoch, alone."""
    x, y = workloads.data(workload, workload.batch * workload.batches)
    trainer = make_trainer(workload)
    samples = trainer.model.as_samples(trainer.objective, x, y, None)
    order = np.random.default_rng(0).permutation(len(x))

    def run() -> None:
        for _ in range(epochs):
            trainer.objective.train_epoch(
                samples, trainer.optimizer, workload.batch, order, lambda step, loss: None
            )

    return Job(run, workload.batches * epochs)


def growth(workload: Workload, samples: int) -> Job:
    """Trainer.fit for one epoch over any number of samples; one call stands for one sample."""
    x, y = workloads.data(workload, samples)
    fit = partial(make_trainer(workload).fit, x, y, epochs=1, batch_size=workload.batch, progress=False)
    return Job(fit, samples)


def peer(variant: str, threads: int) -> Peer:
    """nncore, or train_epoch alone."""
    nc.set_num_threads(threads)
    if variant == "train_epoch":
        return Peer({}, {"fit": train_epoch})
    config = nc.show_config()
    versions = {"nncore": f"{config['version']} on {config['instruction_set']}"}
    modes = {
        "epoch": epoch,
        "step": step,
        "layers": layers,
        "predict": predict,
        "matmul": nncore_functions.matmul,
        "functional": nncore_functions.functional,
        "fit": fit,
        "growth": growth,
    }
    return Peer(versions, modes)
