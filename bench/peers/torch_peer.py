"""PyTorch: eager, with the fused optimizer, and with the fused optimizer and compiled loss and gradients."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch.nn import functional as F

from nncore._cli import workloads
from nncore._cli.workloads import Workload

from ..hidden import RATE
from ..job import Job, Peer, Unsupported, batches, check_training, repeated, sample, versions
from . import torch_functions

HIDDEN: dict[str, Any] = {
    "relu": lambda width: [torch.nn.ReLU()],
    "tanh": lambda width: [torch.nn.Tanh()],
    "sigmoid": lambda width: [torch.nn.Sigmoid()],
    "leaky_relu": lambda width: [torch.nn.LeakyReLU()],
    "gelu": lambda width: [torch.nn.GELU()],
    "silu": lambda width: [torch.nn.SiLU()],
    "dropout": lambda width: [torch.nn.ReLU(), torch.nn.Dropout(RATE)],
    "batch_norm": lambda width: [torch.nn.BatchNorm1d(width), torch.nn.ReLU()],
}
LOSSES = {
    "mean_squared_error": F.mse_loss,
    "half_squared_error": lambda output, y: F.mse_loss(output, y, reduction="sum") / (2 * len(output)),
    "sigmoid_cross_entropy": F.binary_cross_entropy_with_logits,
    "softmax_cross_entropy": F.cross_entropy,
}
COMPILE_UP_TO = 10_000_000  # parameters; compiling more takes minutes and gains nothing


class Training:
    """A network, its loss and its optimizer."""

    def __init__(self, workload: Workload, variant: str, hidden: str = "") -> None:
        self.batch = workload.batch
        self.model = make_model(workload, hidden or workload.activation)
        loss = LOSSES[workload.loss]

        def objective(x: Any, y: Any) -> Any:
            return loss(self.model(x), y)

        self.objective = compiled(objective, workload) if variant == "compiled" else objective
        parameters, fused = self.model.parameters(), variant != "eager"
        if workload.optimizer == "sgd":
            self.optimizer: Any = torch.optim.SGD(parameters, workload.learning_rate, fused=fused)
        else:
            self.optimizer = torch.optim.Adam(parameters, workload.learning_rate, fused=fused)

    def step(self, x: Any, y: Any) -> Any:
        """Makes one step."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.objective(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def epoch(self, x: Any, y: Any) -> float:
        """Trains for one epoch over shuffled rows. index_select was faster than a DataLoader and x[rows]."""
        total = torch.zeros(())
        for rows in torch.randperm(len(x)).split(self.batch):
            total += self.step(x.index_select(0, rows), y.index_select(0, rows))
        return float(total) * self.batch / len(x)

    def weights(self) -> list[Any]:
        """The weights, (I, O) each."""
        return [layer.weight.detach().T for layer in self.model if isinstance(layer, torch.nn.Linear)]


def make_model(workload: Workload, hidden: str) -> torch.nn.Sequential:
    """The workload's network with the given hidden layers."""
    layers: list[torch.nn.Module] = []
    parameters = zip(*workloads.initial_parameters(workload), strict=True)
    for (inputs, outputs), (weight, bias) in zip(pairwise(workload.sizes), parameters, strict=True):
        dense = torch.nn.Linear(inputs, outputs)
        with torch.no_grad():
            dense.weight.copy_(torch.from_numpy(weight.T))
            dense.bias.copy_(torch.from_numpy(bias))
        layers += [dense, *HIDDEN[hidden](outputs)]
    del layers[layers.index(dense) + 1 :]
    if workload.output != "identity":
        layers += HIDDEN[workload.output](workload.sizes[-1])
    return torch.nn.Sequential(*layers)


def compiled(function: Any, workload: Workload) -> Any:
    """The function compiled for static shapes."""
    if workload.parameters > COMPILE_UP_TO:
        raise Unsupported("takes minutes to compile")
    return torch.compile(function, dynamic=False)


def tensors(workload: Workload, rows: int) -> tuple[Any, Any]:
    """The data as tensors."""
    return tuple(torch.from_numpy(array) for array in workloads.data(workload, rows))


def epoch(workload: Workload, *, variant: str) -> Job:
    """A loop in Python."""
    x, y = tensors(workload, workload.batch * workload.batches)
    training = Training(workload, variant)
    losses = (training.step(*batch) for batch in batches(workload, x, y))
    found = check_training(losses, training.weights)
    run = partial(training.epoch, x, y)
    return Job(run, workload.batches, check={**found, "epoch loss": [run()]})


def fit(workload: Workload, epochs: int, *, variant: str) -> Job:
    """Several epochs, with our loop or with a DataLoader, as in most programs."""
    if variant != "DataLoader":
        return repeated(partial(epoch, variant=variant), workload, epochs)
    data = torch.utils.data.TensorDataset(*tensors(workload, workload.batch * workload.batches))
    loader = torch.utils.data.DataLoader(data, workload.batch, shuffle=True)
    training = Training(workload, "fused")

    def run() -> None:
        for _ in range(epochs):
            for x, y in loader:
                training.step(x, y)

    return Job(run, workload.batches * epochs)


def step(workload: Workload, *, variant: str) -> Job:
    """One step on one batch."""
    x, y = tensors(workload, workload.batch)
    training = Training(workload, variant)
    found = check_training((training.step(x, y) for _ in range(3)), training.weights)
    return Job(partial(training.step, x, y), check=found)


def layers(workload: Workload, hidden: str, *, variant: str) -> Job:
    """One step with other hidden layers."""
    x, y = tensors(workload, workload.batch)
    training = Training(workload, variant, hidden)
    first = float(training.step(x, y))
    return Job(partial(training.step, x, y), check={} if hidden == "dropout" else {"losses": [first]})


def predict(workload: Workload, rows: int, *, variant: str) -> Job:
    """The forward pass in inference mode."""
    if variant == "fused":
        raise Unsupported("predicts like PyTorch")
    with torch.inference_mode():
        x, _ = tensors(workload, rows)
        model = make_model(workload, workload.activation).eval()
        forward = compiled(model, workload) if variant == "compiled" else model
        found = {"outputs": sample(forward(x))}
    return Job(partial(forward, x), check=found, around=torch.inference_mode)


def peer(variant: str, threads: int) -> Peer:
    """PyTorch."""
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    if variant == "compiled":
        torch.compile(lambda x: x + 1)(torch.zeros(1))  # fails here without a C++ compiler
    given = {"epoch": epoch, "step": step, "layers": layers, "predict": predict, "fit": fit}
    names = ["fit"] if variant == "DataLoader" else list(given)
    modes: dict[str, Any] = {name: partial(given[name], variant=variant) for name in names}
    if variant == "eager":
        modes |= {"matmul": torch_functions.matmul, "functional": torch_functions.functional}
    return Peer(versions("torch"), modes)
