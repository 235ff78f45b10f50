"""The functions in PyTorch: operators below autograd, with preallocated outputs where possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from ..functions import arguments, results
from ..job import Job

aten = torch.ops.aten
MEAN, SUM = 1, 2  # reductions


def tensors(function: str, shape: Sequence[int]) -> dict[str, Any]:
    """The arguments as tensors."""
    return {name: torch.from_numpy(array) for name, array in arguments(function, shape).items()}


def matmul(function: str, shape: Sequence[int]) -> Job:
    """torch.mm with out."""
    left, right = tensors(function, shape).values()
    run = partial(torch.mm, left, right, out=torch.empty(len(left), right.shape[1]))
    return Job(run, check=results(run()), around=torch.inference_mode)


def functional(function: str, shape: Sequence[int]) -> Job:
    """The fastest expression that we know."""
    given = tensors(function, shape)
    name, _, activation = function.partition(" ")
    if name == "dense_forward":
        run = dense_forward(activation, **given)
    elif name == "dense_backward":
        run = dense_backward(**given)
    else:
        run = partial(FUNCTIONS[name], *given.values(), torch.empty_like(next(iter(given.values()))))
    with torch.inference_mode():
        found = run()
    return Job(run, check=results(found), around=torch.inference_mode)


def dense_forward(activation: str, x: Any, weight: Any, bias: Any) -> Callable[[], Any]:
    """Product and bias in one call, the activation in place."""
    out = torch.empty(len(x), len(bias))
    act = {"identity": lambda z: z, "relu": torch.relu_, "tanh": torch.tanh_, "sigmoid": torch.sigmoid_}[
        activation
    ]
    return lambda: act(torch.addmm(bias, x, weight, out=out))


def dense_backward(grad_output: Any, x: Any, weight: Any) -> Callable[[], Any]:
    """Two products and a sum."""
    grad_x, grad_weight = torch.empty_like(x), torch.empty_like(weight)
    grad_bias = torch.empty(weight.shape[1])

    def run() -> Any:
        torch.mm(grad_output, weight.T, out=grad_x)
        torch.mm(x.T, grad_output, out=grad_weight)
        torch.sum(grad_output, 0, out=grad_bias)
        return grad_x, grad_weight, grad_bias

    return run


def mean_squared_error(a: Any, y: Any, out: Any) -> Any:
    """Value and gradient."""
    return aten.mse_loss(a, y), aten.mse_loss_backward.grad_input(ONE, a, y, MEAN, grad_input=out)


def half_squared_error(a: Any, y: Any, out: Any) -> Any:
    """The gradient is the difference times a constant."""
    torch.sub(a, y, out=out)
    flat = out.view(-1)
    return torch.dot(flat, flat) / (2 * len(a)), out.mul_(1 / len(a))


def sigmoid_cross_entropy(z: Any, y: Any, out: Any) -> Any:
    """The operator lacks a gradient; sigmoid minus target gives it."""
    value = aten.binary_cross_entropy_with_logits(z, y)
    return value, torch.sigmoid(z, out=out).sub_(y).mul_(1 / z.numel())


def binary_cross_entropy(p: Any, y: Any, out: Any) -> Any:
    """Value and gradient."""
    value = aten.binary_cross_entropy(p, y)
    return value, aten.binary_cross_entropy_backward.grad_input(ONE, p, y, grad_input=out)


def softmax_cross_entropy(z: Any, y: Any, out: Any) -> Any:
    """The operators that autograd calls for cross_entropy."""
    logs = torch.log_softmax(z, 1)
    value, weight = aten.nll_loss_forward(logs, y, None, MEAN, -100)
    grad = aten.nll_loss_backward(ONE, logs, y, None, MEAN, -100, weight)
    return value, aten._log_softmax_backward_data.out(grad, logs, 1, torch.float32, out=out)


def cross_entropy(p: Any, y: Any, out: Any) -> Any:
    """Value and gradient from one entry per row."""
    classes = y[:, None]
    picked = p.gather(1, classes)
    out.zero_().scatter_(1, classes, torch.reciprocal(picked).mul_(-1 / len(p)))
    return -picked.log_().mean(), out


ONE = torch.ones(())
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "relu": lambda z, out: torch.clamp_min(z, 0, out=out),
    "tanh": lambda z, out: torch.tanh(z, out=out),
    "sigmoid": lambda z, out: torch.sigmoid(z, out=out),
    "softmax": lambda z, out: torch.softmax(z, 1, out=out),
    "log_softmax": lambda z, out: aten._log_softmax.out(z, 1, False, out=out),
    "relu_backward": lambda g, a, out: aten.threshold_backward.grad_input(g, a, 0, grad_input=out),
    "tanh_backward": lambda g, a, out: aten.tanh_backward.grad_input(g, a, grad_input=out),
    "sigmoid_backward": lambda g, a, out: aten.sigmoid_backward.grad_input(g, a, grad_input=out),
    "softmax_backward": lambda g, a, out: aten._softmax_backward_data.out(
        g, a, 1, torch.float32, grad_input=out
    ),
    "log_softmax_backward": lambda g, a, out: aten._log_softmax_backward_data.out(
        g, a, 1, torch.float32, out=out
    ),
    "mean_squared_error": mean_squared_error,
    "half_squared_error": half_squared_error,
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "softmax_cross_entropy": softmax_cross_entropy,
    "cross_entropy": cross_entropy,
}
