"""Records results of PyTorch in float64 for tests/test_reference.py.

Run it only to change the cases; the tests read values.npz, losses.npz and activations.npz and need no torch:

    python3 -m venv torch-venv && torch-venv/bin/pip install torch==2.13.0 numpy
    torch-venv/bin/python tests/reference/record_torch.py

Losses follow nncore's convention: the sum over outputs (for mean squared error the mean), and the mean over
samples, or sum(w l) / sum(w). They build on PyTorch's functions without reduction.
"""

import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

BATCH = 9
STEPS = 20
BATCHES = 4

Layers = list[tuple[Tensor, Tensor]]
Net = Callable[[Tensor, Layers], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


def dense(x: Tensor, layer: tuple[Tensor, Tensor]) -> Tensor:
    return F.linear(x, *layer)


# Nets: the values of `layers` are the weights and biases in the order of SHAPES. --------------------------


def chain(activation: Callable[[Tensor], Tensor], last: Callable[[Tensor], Tensor]) -> Net:
    def net(x: Tensor, layers: Layers) -> Tensor:
        for layer in layers[:-1]:
            x = activation(dense(x, layer))
        return last(dense(x, layers[-1]))

    return net


def identity(z: Tensor) -> Tensor:
    return z


def softmax(z: Tensor) -> Tensor:
    return F.softmax(z, dim=1)


def shared(x: Tensor, layers: Layers) -> Tensor:
    """One layer at two depths, then an own one."""
    h = torch.tanh(dense(x, layers[0]))
    h = torch.tanh(dense(h, layers[0]))
    return dense(h, layers[1])


def diamond(x: Tensor, layers: Layers) -> Tensor:
    """Two branches of one value, added and multiplied; both results and the value are concatenated."""
    h = torch.tanh(dense(x, layers[0]))
    a, b = dense(h, layers[1]), torch.sigmoid(dense(h, layers[2]))
    return dense(torch.cat([a + b, h, a * b], dim=1), layers[3])


def branches(x: Tensor, layers: Layers) -> Tensor:
    """One layer on two branches."""
    a, b = torch.tanh(dense(x, layers[0])), torch.sigmoid(dense(x, layers[1]))
    return dense(a, layers[2]) * dense(b, layers[2])


# Losses, one value a sample. ------------------------------------------------------------------------------


def half_squared_error(a: Tensor, y: Tensor) -> Tensor:
    return 0.5 * F.mse_loss(a, y, reduction="none").sum(dim=1)


def mean_squared_error(a: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(a, y, reduction="none").mean(dim=1)


def cross_entropy(a: Tensor, y: Tensor) -> Tensor:
    return F.nll_loss(a.log(), y, reduction="none") if y.dim() == 1 else -(y * a.log()).sum(dim=1)


def softmax_cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(z, y, reduction="none")


def binary_cross_entropy(a: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy(a, y, reduction="none").sum(dim=1)


def sigmoid_cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(z, y, reduction="none").sum(dim=1)


# name: (net, (in_features, out_features) of every layer, loss, kind of target)
CASES: dict[str, tuple[Net, list[tuple[int, int]], Loss, str]] = {
    "tanh_mse": (chain(torch.tanh, identity), [(5, 7), (7, 4), (4, 3)], mean_squared_error, "values"),
    "relu_softmax_labels": (chain(torch.relu, softmax), [(6, 9), (9, 8), (8, 5)], cross_entropy, "labels"),
    "relu_softmax_soft": (chain(torch.relu, softmax), [(6, 9), (9, 8), (8, 5)], cross_entropy, "soft"),
    "relu_logits_labels": (chain(torch.relu, identity), [(6, 9), (9, 5)], softmax_cross_entropy, "labels"),
    "relu_logits_soft": (chain(torch.relu, identity), [(6, 9), (9, 5)], softmax_cross_entropy, "soft"),
    "sigmoid_bce": (chain(torch.sigmoid, torch.sigmoid), [(4, 6), (6, 3)], binary_cross_entropy, "binary"),
    "sigmoid_bce_logits": (chain(torch.sigmoid, identity), [(4, 6), (6, 3)], sigmoid_cross_entropy, "binary"),
    "sigmoid_half": (chain(torch.sigmoid, torch.sigmoid), [(4, 6), (6, 3)], half_squared_error, "values"),
    "shared": (shared, [(4, 4), (4, 2)], half_squared_error, "values"),
    "diamond": (diamond, [(3, 4), (4, 5), (4, 5), (14, 2)], half_squared_error, "values"),
    "branches": (branches, [(3, 4), (3, 4), (4, 2)], mean_squared_error, "values"),
}

OPTIMIZER_SHAPES = [(5, 8), (8, 3)]


def optimizer(kind: str, layers: Layers) -> torch.optim.Optimizer:
    weights, biases = [w for w, _ in layers], [b for _, b in layers]
    if kind == "sgd":
        return torch.optim.SGD(weights + biases, lr=0.1)
    if kind == "momentum":
        return torch.optim.SGD(weights + biases, lr=0.05, momentum=0.9)
    if kind == "nesterov":
        return torch.optim.SGD(weights + biases, lr=0.05, momentum=0.9, nesterov=True)
    if kind == "adam":
        return torch.optim.Adam(weights + biases, lr=0.01)
    # nncore's AdamW decays weights, not biases.
    groups = [{"params": weights, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.01)


# Activations by themselves: parameters. -------------------------------------------------------------------

ACTIVATIONS: dict[str, tuple[Callable[..., Tensor], dict[str, float | str]]] = {
    "leaky_relu": (F.leaky_relu, {}),
    "leaky_relu of 0.3": (F.leaky_relu, {"negative_slope": 0.3}),
    "gelu": (F.gelu, {}),
    "gelu by tanh": (F.gelu, {"approximate": "tanh"}),
    "silu": (F.silu, {}),
}


def record_activation(name: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    activation, parameters = ACTIVATIONS[name]
    z = torch.tensor(rng.normal(scale=3.0, size=(BATCH, 17))).requires_grad_()
    grad_output = torch.tensor(rng.normal(size=(BATCH, 17)))
    value = activation(z, **parameters)
    (gradient,) = torch.autograd.grad(value, z, grad_output)
    return {
        "z": numbers(z),
        "grad_output": numbers(grad_output),
        "value": numbers(value),
        "gradient": numbers(gradient),
        **{f"parameter {key}": np.array(given) for key, given in parameters.items()},
    }


# Losses by themselves, one value a sample: parameters, the columns of the prediction and of the target. -----


def huber(a: Tensor, y: Tensor, delta: float) -> Tensor:
    return F.huber_loss(a, y, reduction="none", delta=delta).mean(dim=1)


def mean_absolute_error(a: Tensor, y: Tensor) -> Tensor:
    return F.l1_loss(a, y, reduction="none").mean(dim=1)


def gaussian_nll(a: Tensor, y: Tensor) -> Tensor:
    """nncore's prediction holds logarithms of variances."""
    mean, log_variance = a.chunk(2, dim=1)
    return F.gaussian_nll_loss(mean, y, log_variance.exp(), eps=1e-300, reduction="none").sum(dim=1)


LOSSES: dict[str, tuple[Callable[..., Tensor], dict[str, float], int, int]] = {
    "huber": (huber, {}, 5, 5),
    "huber of 0.3": (huber, {"delta": 0.3}, 5, 5),
    "mean_absolute_error": (mean_absolute_error, {}, 4, 4),
    "gaussian_nll": (gaussian_nll, {}, 6, 3),
}


def record_loss(name: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    loss, parameters, columns, target_columns = LOSSES[name]
    prediction = torch.tensor(rng.normal(size=(BATCH, columns))).requires_grad_()
    target = torch.tensor(rng.normal(size=(BATCH, target_columns)))
    sample_weight = torch.tensor(rng.uniform(0.1, 3.0, size=BATCH))
    samples = loss(prediction, target, **({"delta": 1.0} if loss is huber else {}) | parameters)
    value = (sample_weight * samples).sum() / sample_weight.sum()
    (gradient,) = torch.autograd.grad(value, prediction)
    return {
        "prediction": numbers(prediction),
        "target": numbers(target),
        "sample_weight": numbers(sample_weight),
        "samples": numbers(samples),
        "value": numbers(value),
        "gradient": numbers(gradient),
        **{f"parameter {key}": np.array(number) for key, number in parameters.items()},
    }


def draw_layers(rng: np.random.Generator, shapes: list[tuple[int, int]]) -> Layers:
    layers = []
    for inputs, outputs in shapes:
        weight = torch.tensor(rng.normal(scale=inputs**-0.5, size=(outputs, inputs)))
        bias = torch.tensor(rng.normal(scale=0.3, size=outputs))
        layers.append((weight.requires_grad_(), bias.requires_grad_()))
    return layers


def draw_target(rng: np.random.Generator, kind: str, outputs: int) -> Tensor:
    if kind == "labels":
        return torch.tensor(rng.integers(outputs, size=BATCH))
    if kind == "soft":
        return torch.tensor(rng.dirichlet(np.ones(outputs), size=BATCH))
    if kind == "binary":
        return torch.tensor(rng.integers(2, size=(BATCH, outputs)).astype(np.float64))
    return torch.tensor(rng.normal(size=(BATCH, outputs)))


def numbers(values: Tensor) -> np.ndarray:
    return values.detach().numpy().copy()


def record_case(name: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    net, shapes, loss, target_kind = CASES[name]
    layers = draw_layers(rng, shapes)
    x = torch.tensor(rng.normal(size=(BATCH, shapes[0][0]))).requires_grad_()
    y = draw_target(rng, target_kind, shapes[-1][1])
    sample_weight = torch.tensor(rng.uniform(0.1, 3.0, size=BATCH))
    recorded = {"x": numbers(x), "y": numbers(y), "sample_weight": numbers(sample_weight)}
    for i, (weight, bias) in enumerate(layers):
        recorded |= {f"weight{i}": numbers(weight), f"bias{i}": numbers(bias)}

    for prefix, w in (("", torch.ones(BATCH, dtype=torch.float64)), ("weighted_", sample_weight)):
        output = net(x, layers)
        value = (w * loss(output, y)).sum() / w.sum()
        wanted = [output, x, *(p for layer in layers for p in layer)]
        grad_output, grad_x, *grads = torch.autograd.grad(value, wanted)
        recorded |= {f"{prefix}loss": numbers(value), f"{prefix}grad_x": numbers(grad_x)}
        recorded |= {"output": numbers(output), f"{prefix}grad_output": numbers(grad_output)}
        for i in range(len(layers)):
            recorded[f"{prefix}grad_weight{i}"] = numbers(grads[2 * i])
            recorded[f"{prefix}grad_bias{i}"] = numbers(grads[2 * i + 1])
    return recorded


def record_optimizers(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """STEPS steps of each optimizer from the same start, cycling through the same BATCHES batches."""
    start = draw_layers(rng, OPTIMIZER_SHAPES)
    x = torch.tensor(rng.normal(size=(BATCHES, BATCH, OPTIMIZER_SHAPES[0][0])))
    y = torch.tensor(rng.normal(size=(BATCHES, BATCH, OPTIMIZER_SHAPES[-1][1])))
    recorded = {"x": numbers(x), "y": numbers(y)}
    for i, (weight, bias) in enumerate(start):
        recorded |= {f"weight{i}": numbers(weight), f"bias{i}": numbers(bias)}
    net = chain(torch.tanh, identity)
    for kind in ("sgd", "momentum", "nesterov", "adam", "adamw"):
        layers = [tuple(p.detach().clone().requires_grad_() for p in layer) for layer in start]
        steps = optimizer(kind, layers)
        losses = []
        for step in range(STEPS):
            steps.zero_grad()
            value = mean_squared_error(net(x[step % BATCHES], layers), y[step % BATCHES]).mean()
            value.backward()
            steps.step()
            losses.append(value.item())
        recorded[f"{kind}/losses"] = np.array(losses)
        for i, (weight, bias) in enumerate(layers):
            recorded |= {f"{kind}/weight{i}": numbers(weight), f"{kind}/bias{i}": numbers(bias)}
    return recorded


def write(file: str, values: dict[str, np.ndarray]) -> None:
    versions = f"torch {torch.__version__}, numpy {np.__version__}, python {platform.python_version()}"
    path = Path(__file__).with_name(file)
    np.savez_compressed(path, versions=np.array(versions), **values)
    print(f"{path}: {len(values)} arrays, {path.stat().st_size} bytes; {versions}")


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(20240229)
    values: dict[str, np.ndarray] = {}
    for name in CASES:
        values |= {f"{name}/{key}": array for key, array in record_case(name, rng).items()}
    values |= {f"optimizers/{key}": array for key, array in record_optimizers(rng).items()}
    write("values.npz", values)
    losses: dict[str, np.ndarray] = {}
    for name in LOSSES:
        losses |= {f"{name}/{key}": array for key, array in record_loss(name, rng).items()}
    write("losses.npz", losses)
    activations: dict[str, np.ndarray] = {}
    for name in ACTIVATIONS:
        activations |= {f"{name}/{key}": array for key, array in record_activation(name, rng).items()}
    write("activations.npz", activations)


if __name__ == "__main__":
    main()
