"""Records layers.npz: outputs and gradients of PyTorch's layers with parameters or state, in float64.

Run with PyTorch 2.13 installed: python tests/reference/record_layers.py. A case is a few steps of one layer,
each with its own batch. All arrays but the parameters have one row per step; state is that after the step.
Random numbers have few digits, which compress well.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

BATCH = 5
FEATURES = 9  # odd: whole vectors of a kernel and a remainder
TABLE = (6, 5)
INDICES = 3

# name: (PyTorch's layer, whether each step is in training mode)
CASES: dict[str, tuple[Callable[[], nn.Module], list[bool]]] = {
    "batch_norm": (lambda: nn.BatchNorm1d(FEATURES), [True, True, False]),
    "batch_norm not affine": (lambda: nn.BatchNorm1d(FEATURES, 0.01, 0.3, affine=False), [True, True, False]),
    "layer_norm": (lambda: nn.LayerNorm(FEATURES), [True, False]),
    "layer_norm not affine": (lambda: nn.LayerNorm(FEATURES, 0.01, elementwise_affine=False), [True]),
    "prelu": (lambda: nn.PReLU(), [True, False]),
    "prelu of columns": (lambda: nn.PReLU(FEATURES), [True, False]),
    "embedding": (lambda: nn.Embedding(*TABLE), [True, False]),
}


def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.round(rng.normal(size=shape) * 64.0) / 64.0


def draw_batch(rng: np.random.Generator, layer: nn.Module) -> torch.Tensor:
    """Columns with different means and scales and a few zeros; or indices with many repetitions."""
    if isinstance(layer, nn.Embedding):
        return torch.tensor(rng.integers(TABLE[0] - 2, size=(BATCH, INDICES)) + rng.integers(3))
    x = draw(rng, (BATCH, FEATURES)) * rng.integers(1, 5, size=FEATURES) + draw(rng, (FEATURES,))
    x[rng.integers(BATCH, size=3), rng.integers(FEATURES, size=3)] = 0.0
    return torch.tensor(x).requires_grad_()


def record(name: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    make, steps = CASES[name]
    layer = make().double()
    parameters = dict(layer.named_parameters())
    for parameter in parameters.values():
        with torch.no_grad():
            parameter.copy_(torch.tensor(draw(rng, tuple(parameter.shape))))
    rows: dict[str, list[np.ndarray]] = {}

    def keep(key: str, values: torch.Tensor) -> None:
        rows.setdefault(key, []).append(values.detach().numpy().copy())

    for training in steps:
        x = draw_batch(rng, layer)
        output = layer.train(training)(x).reshape(BATCH, -1)
        grad_output = torch.tensor(draw(rng, tuple(output.shape)))
        keep("x", x)
        keep("output", output)
        keep("grad_output", grad_output)
        wanted = {**({"x": x} if x.requires_grad else {}), **parameters}
        for key, gradient in zip(
            wanted, torch.autograd.grad(output, list(wanted.values()), grad_output), strict=True
        ):
            keep(f"grad_{key}", gradient)
        for key, state in layer.named_buffers():
            if state.ndim:  # skips the number of batches, which nncore does not need
                keep(f"state {key}", state)
    return {
        "training": np.array(steps),
        **{f"parameter {key}": values.detach().numpy().copy() for key, values in parameters.items()},
        **{key: np.stack(values) for key, values in rows.items()},
    }


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(20270114)
    recorded = {"versions": np.array(f"torch {torch.__version__}, numpy {np.__version__}")}
    for name in CASES:
        recorded |= {f"{name}/{key}": array for key, array in record(name, rng).items()}
    path = Path(__file__).with_name("layers.npz")
    np.savez_compressed(path, **recorded)
    print(f"{path}: {len(recorded)} arrays, {path.stat().st_size} bytes; {recorded['versions']}")


if __name__ == "__main__":
    main()
