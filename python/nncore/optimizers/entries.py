# Written by tools/generate.py from the core's tables; changes here are lost.
"""Optimizers."""

from __future__ import annotations

from collections.abc import Iterable

from ..schedules import Schedule
from .base import Optimizer, Transform

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "RMSprop",
]


class SGD(Optimizer):
    """Gradient descent, with momentum or Nesterov's momentum where asked for.

    p -= learning_rate g; with momentum m = momentum m + g, p -= learning_rate m; with nesterov p -=
    learning_rate (g + momentum m).

    learning_rate: the size of a step, a finite number of at least 0.

    momentum: how much of the last step's direction stays; 0: none, a number of at least 0 and less than
    1.

    nesterov: whether a step looks ahead along the momentum.

    weight_decay: decoupled: p -= learning_rate weight_decay p in each step, of weights but not of biases,
    a finite number of at least 0.

    l2: coupled: g += l2 p before the step, of weights but not of biases (what PyTorch calls
    weight_decay), a finite number of at least 0.
    """

    kind = "sgd"

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        l2: float = 0.0,
        *,
        schedule: Schedule | None = None,
        transforms: Iterable[Transform] = (),
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            l2=l2,
            schedule=schedule,
            transforms=transforms,
        )


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), with bias correction; epsilon is added to the root.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; p -= learning_rate / (1 - beta1^t) m /
    (sqrt(v / (1 - beta2^t)) + epsilon).

    learning_rate: the size of a step, a finite number of at least 0.

    beta1: how much of the mean gradient a step keeps, a number of at least 0 and less than 1.

    beta2: how much of the mean squared gradient a step keeps, a number of at least 0 and less than 1.

    epsilon: added to the root, a finite number greater than 0.

    weight_decay: decoupled: p -= learning_rate weight_decay p in each step, of weights but not of biases,
    a finite number of at least 0.

    l2: coupled: g += l2 p before the step, of weights but not of biases (what PyTorch calls
    weight_decay), a finite number of at least 0.
    """

    kind = "adam"

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-08,
        weight_decay: float = 0.0,
        l2: float = 0.0,
        *,
        schedule: Schedule | None = None,
        transforms: Iterable[Transform] = (),
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            beta1=beta1,
            beta2=beta2,
            epsilon=epsilon,
            weight_decay=weight_decay,
            l2=l2,
            schedule=schedule,
            transforms=transforms,
        )


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    as adam.

    learning_rate: the size of a step, a finite number of at least 0.

    beta1: how much of the mean gradient a step keeps, a number of at least 0 and less than 1.

    beta2: how much of the mean squared gradient a step keeps, a number of at least 0 and less than 1.

    epsilon: added to the root, a finite number greater than 0.

    weight_decay: decoupled: p -= learning_rate weight_decay p in each step, of weights but not of biases,
    a finite number of at least 0.

    l2: coupled: g += l2 p before the step, of weights but not of biases (what PyTorch calls
    weight_decay), a finite number of at least 0.
    """

    kind = "adamw"

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-08,
        weight_decay: float = 0.01,
        l2: float = 0.0,
        *,
        schedule: Schedule | None = None,
        transforms: Iterable[Transform] = (),
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            beta1=beta1,
            beta2=beta2,
            epsilon=epsilon,
            weight_decay=weight_decay,
            l2=l2,
            schedule=schedule,
            transforms=transforms,
        )


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012), with the mean gradient taken off where centered (Graves 2013).

    v = alpha v + (1 - alpha) g^2; d = g / (sqrt(v) + epsilon); p -= learning_rate d; with centered a =
    alpha a + (1 - alpha) g, d = g / (sqrt(max(v - a^2, 0)) + epsilon); with momentum m = momentum m + d,
    p -= learning_rate m.

    learning_rate: the size of a step, a finite number of at least 0.

    alpha: how much of the mean squared gradient a step keeps, a number of at least 0 and less than 1.

    epsilon: added to the root, a finite number greater than 0.

    momentum: how much of the last step's direction stays; 0: none, a number of at least 0 and less than
    1.

    centered: whether the variance of the gradient stands for its mean square.

    weight_decay: decoupled: p -= learning_rate weight_decay p in each step, of weights but not of biases,
    a finite number of at least 0.

    l2: coupled: g += l2 p before the step, of weights but not of biases (what PyTorch calls
    weight_decay), a finite number of at least 0.
    """

    kind = "rmsprop"

    def __init__(
        self,
        learning_rate: float = 0.01,
        alpha: float = 0.99,
        epsilon: float = 1e-08,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
        l2: float = 0.0,
        *,
        schedule: Schedule | None = None,
        transforms: Iterable[Transform] = (),
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            alpha=alpha,
            epsilon=epsilon,
            momentum=momentum,
            centered=centered,
            weight_decay=weight_decay,
            l2=l2,
            schedule=schedule,
            transforms=transforms,
        )


class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011): steps become smaller where gradients were large.

    v += g^2; p -= learning_rate g / (sqrt(v) + epsilon); v starts at initial_accumulator_value.

    learning_rate: the size of a step, a finite number of at least 0.

    epsilon: added to the root, a finite number greater than 0.

    initial_accumulator_value: where the sums of squared gradients start, a finite number of at least 0.

    weight_decay: decoupled: p -= learning_rate weight_decay p in each step, of weights but not of biases,
    a finite number of at least 0.

    l2: coupled: g += l2 p before the step, of weights but not of biases (what PyTorch calls
    weight_decay), a finite number of at least 0.
    """

    kind = "adagrad"

    def __init__(
        self,
        learning_rate: float = 0.01,
        epsilon: float = 1e-10,
        initial_accumulator_value: float = 0.0,
        weight_decay: float = 0.0,
        l2: float = 0.0,
        *,
        schedule: Schedule | None = None,
        transforms: Iterable[Transform] = (),
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            epsilon=epsilon,
            initial_accumulator_value=initial_accumulator_value,
            weight_decay=weight_decay,
            l2=l2,
            schedule=schedule,
            transforms=transforms,
        )


class Adamax(Optimizer):
    """Adam with the largest magnitude of the gradients instead of their mean square.

    m = beta1 m + (1 - beta1) g; u = max(beta2 u, |g| + epsilon); p -= learning_rate / (1 - beta1^t) m /
    u.

    learning_rate: the size of a step, a finite number of at least 0.

    beta1: how much of the mean gradient a step keeps, a number of at least 0 and less than 1.

    beta2: how much of the mean squared gradient a step keeps, a number of at least 0 and less than 1.

    epsilon: added to the root, a finite number greater than 0.

    weight_decay: decoupled: p -= learning_rate weight_decay p in each step, of weights but not of biases,
    a finite number of at least 0.

    l2: coupled: g += l2 p before the step, of weights but not of biases (what PyTorch calls
    weight_decay), a finite number of at least 0.
    """

    kind = "adamax"

    def __init__(
        self,
        learning_rate: float = 0.002,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-08,
        weight_decay: float = 0.0,
        l2: float = 0.0,
        *,
        schedule: Schedule | None = None,
        transforms: Iterable[Transform] = (),
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            beta1=beta1,
            beta2=beta2,
            epsilon=epsilon,
            weight_decay=weight_decay,
            l2=l2,
            schedule=schedule,
            transforms=transforms,
        )


ENTRIES: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "adamax": Adamax,
}
