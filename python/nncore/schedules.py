"""Schedules: functions that scale the optimizer's learning rate and weight decay at each step.

A schedule takes the number of steps made so far. It returns the factor of the learning rate, or a dict of
factors with the keys "learning_rate" and "weight_decay". A trainer calls it with the optimizer's own step
count, so a resumed run continues at the right step.

>>> import nncore as nc
>>> optimizer = nc.SGD(0.1, schedule=lambda step: 0.5 ** (step // 1000))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from ._errors import check_number, check_size

__all__ = ["cosine_decay"]

Schedule: TypeAlias = Callable[[int], "float | Mapping[str, float]"]


def cosine_decay(total_steps: int, *, warmup_steps: int = 0, final: float = 0.0) -> Schedule:
    """A linear warmup to 1, then a cosine decay to `final` (Loshchilov and Hutter 2017).

    The factor rises to 1 in `warmup_steps` equal increments, falls to `final` at step `total_steps` along
    half a cosine wave, and stays there.

    Raises ValueError unless 0 <= warmup_steps < total_steps and 0 <= final < infinity.

    >>> schedule = cosine_decay(100, warmup_steps=10)
    >>> [schedule(step) for step in (0, 4, 9, 10, 55, 100, 1000)]
    [0.1, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0]
    """
    warmup_steps = check_size(warmup_steps, "warmup_steps", least=0)
    total_steps = check_size(total_steps, "total_steps", least=0)
    final = check_number(final, "final")
    if total_steps <= warmup_steps:
        raise ValueError(f"total_steps must be more than warmup_steps, {warmup_steps}; got {total_steps}")
    if not 0.0 <= final < float("inf"):
        raise ValueError(f"final must be a finite number of at least 0; got {final}")
    return partial(_cosine_decay, total_steps, warmup_steps, final)  # can be pickled, unlike a closure


def _cosine_decay(total_steps: int, warmup_steps: int, final: float, step: int) -> float:
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
    return final + (1.0 - final) * 0.5 * (1.0 + _cosine_of_pi_times(progress))


def _cosine_of_pi_times(x: float) -> float:
    """cos(pi x) for x in [0, 1], in IEEE operations: the C library's cos differs between machines."""
    if x > 0.5:
        return -_cosine_of_pi_times(1.0 - x)
    is_near = x <= 0.25
    angle = 3.141592653589793 * (x if is_near else 0.5 - x)
    term = total = 1.0 if is_near else angle
    for n in range(2 if is_near else 3, 24, 2):  # Taylor series: the remainder is below half an ulp
        term *= -angle * angle / (n * (n - 1))
        total += term
    return total
