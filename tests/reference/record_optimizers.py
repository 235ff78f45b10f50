"""Records optimizers.npz: the results of 20 steps of PyTorch's optimizers from one start, in float64.

Run with PyTorch 2.13 installed: python tests/reference/record_optimizers.py. PyTorch's `weight_decay` is l2,
except in AdamW; biases have none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

STEPS = 20
SHAPES = [(8, 5), (8,), (3, 8), (3,)]

# name: (PyTorch's class, its options, options of weights only)
CASES: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any], dict[str, float]]] = {
    "sgd": (torch.optim.SGD, {"lr": 0.1}, {}),
    "sgd_l2": (torch.optim.SGD, {"lr": 0.1}, {"weight_decay": 0.2}),
    "sgd_momentum": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}, {"weight_decay": 0.2}),
    "sgd_nesterov": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}, {"weight_decay": 0.2}),
    "adam": (torch.optim.Adam, {"lr": 0.01}, {}),
    "adam_l2": (torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6}, {"weight_decay": 0.2}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.0}, {"weight_decay": 0.3}),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.01}, {}),
    "rmsprop_momentum": (torch.optim.RMSprop, {"lr": 0.01, "momentum": 0.9}, {"weight_decay": 0.2}),
    "rmsprop_centered": (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.9, "centered": True}, {}),
    "rmsprop_all": (
        torch.optim.RMSprop,
        {"lr": 0.01, "momentum": 0.9, "centered": True},
        {"weight_decay": 0.2},
    ),
    "adagrad": (torch.optim.Adagrad, {"lr": 0.1}, {}),
    "adagrad_started": (
        torch.optim.Adagrad,
        {"lr": 0.1, "initial_accumulator_value": 0.5},
        {"weight_decay": 0.2},
    ),
}


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(20261127)
    start = [rng.normal(size=shape) for shape in SHAPES]
    gradients = [[rng.normal(size=shape) for shape in SHAPES] for _ in range(STEPS)]
    recorded = {"versions": np.array(f"torch {torch.__version__}, numpy {np.__version__}")}
    for i in range(len(SHAPES)):
        recorded[f"start/{i}"] = start[i]
        recorded[f"gradients/{i}"] = np.stack([step[i] for step in gradients])
    for name, (make, options, of_weights) in CASES.items():
        parameters = [torch.tensor(values, requires_grad=True) for values in start]
        groups = [
            {"params": [p for p in parameters if p.ndim == 2], **of_weights},
            {"params": [p for p in parameters if p.ndim == 1]},
        ]
        optimizer = make(groups, **options)
        for step in gradients:
            for parameter, gradient in zip(parameters, step, strict=True):
                parameter.grad = torch.tensor(gradient)
            optimizer.step()
        for i, parameter in enumerate(parameters):
            recorded[f"{name}/{i}"] = parameter.detach().numpy().copy()
    path = Path(__file__).with_name("optimizers.npz")
    np.savez_compressed(path, **recorded)
    print(f"{path}: {len(recorded)} arrays, {path.stat().st_size} bytes; {recorded['versions']}")


if __name__ == "__main__":
    main()
