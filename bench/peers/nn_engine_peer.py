"""nn-engine-core: its own loop, and predictions. It has ReLU, but no tanh and no logistic loss."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import nnengine
import numpy as np

from nncore._cli import workloads
from nncore._cli.workloads import Workload

from ..job import CHECKED_STEPS, Job, Peer, Unsupported, repeated, sample, versions

LOSSES = {
    "mean_squared_error": nnengine.MSELoss,
    "softmax_cross_entropy": nnengine.SoftmaxCrossEntropyLoss,
}


class Network(nnengine.Module):
    """The workload's network."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        self.__dict__["line"] = []
        for number, (inputs, outputs) in enumerate(pairwise(workload.sizes)):
            self._append(f"dense{number}", nnengine.DenseLayer(inputs, outputs))
            if number < len(workload.sizes) - 2:
                self._append(f"relu{number}", nnengine.ReLULayer())
        parameters = self.named_parameters()
        for number, values in enumerate(zip(*workloads.initial_parameters(workload), strict=True)):
            for name, array in zip(("weight", "bias"), values, strict=True):
                parameters[f"dense{number}.{name}"].data[...] = array

    def _append(self, name: str, layer: Any) -> None:
        self.register_module(name, layer)
        self.line.append(layer)

    def forward(self, x: Any) -> Any:
        """The outputs."""
        for layer in self.line:
            x = layer.forward(x)
        return x

    def samples(self) -> list[Any]:
        """A sample of all weights, (I, O) each."""
        parameters = self.named_parameters()
        return np.concatenate([sample(v.data) for k, v in parameters.items() if k.endswith("weight")])


def as_relu(workload: Workload) -> tuple[Workload, dict[str, str]]:
    """The supported variant of the workload, and its departures from the workload."""
    if workload.loss not in LOSSES or workload.optimizer != "adam":
        raise Unsupported(f"has no {workload.loss}")
    if workload.activation == "relu":
        return workload, {}
    return workload._replace(activation="relu"), {"activation": "relu"}


def arrays(workload: Workload, rows: int) -> tuple[Any, Any]:
    """The data, with classes as one-hot rows."""
    x, y = workloads.data(workload, rows)
    return x, np.eye(workload.sizes[-1], dtype=np.float32)[y] if y.ndim == 1 else y


def epoch(workload: Workload) -> Job:
    """The library's C++ loop, one epoch per call."""
    workload, variant = as_relu(workload)
    x, y = arrays(workload, workload.batch * workload.batches)
    network = Network(workload)
    loss = LOSSES[workload.loss]()
    trainer = nnengine.JITCompiler(network, nnengine.Adam(workload.learning_rate), loss)
    engine = trainer._cpp_engine
    first = nnengine.DataLoader(*(a[: CHECKED_STEPS * workload.batch] for a in (x, y)), workload.batch, False)
    before = network.samples()
    scale = (
        workload.sizes[-1] if workload.loss == "mean_squared_error" else 1
    )  # the library sums over outputs
    found = {"losses": [engine.trace_batch(first) / scale]}
    engine.fast_loop(first)  # the other batches; tracing them would add to the earlier gradients
    found["changes"] = np.subtract(network.samples(), before).tolist()
    loader = nnengine.DataLoader(x, y, workload.batch, True)
    fit = partial(engine.fast_fit, loader, None, 1, 0.0, 1 << 30, False)
    fit()
    keep = (loss, trainer, first)

    def run() -> None:
        fit()
        assert keep

    return Job(run, workload.batches, check=found, variant=variant)


def predict(workload: Workload, rows: int) -> Job:
    """Module.predict."""
    workload, variant = as_relu(workload)
    x, _ = workloads.data(workload, rows)
    run = partial(Network(workload).predict, x)
    return Job(run, check={"outputs": sample(run())}, variant=variant)


def peer(variant: str, threads: int) -> Peer:
    """nn-engine-core."""
    return Peer(
        versions("nn-engine-core"), {"epoch": epoch, "fit": partial(repeated, epoch), "predict": predict}
    )
