"""Schedules: functions that tell by how much a step's learning rate differs from the optimizer's.

A schedule is a function of the number of steps made before, which returns what multiplies the learning
rate, or a dict with the keys "learning_rate" and "weight_decay" of what multiplies each. A trainer asks it
once a step, so that a run that is resumed goes on with the right step.

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
    """From 1 down to `final` at step `total_steps` along half a wave of the cosine, and `final` from then on
    (Loshchilov and Hutter 2017); before that, `warmup_steps` steps of equal increments up to 1.

    Raises ValueError unless 0 <= warmup_steps < total_steps and 0 <= final.

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
    return partial(
        _cosine_decay, total_steps, warmup_steps, final
    )  # no function within: those are not pickled


def _cosine_decay(total_steps: int, warmup_steps: int, final: float, step: int) -> float:
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
    return final + (1.0 - final) * 0.5 * (1.0 + _cosine_of_pi_times(progress))


def _cosine_of_pi_times(x: float) -> float:
    """cos(pi x) for x in [0, 1], by IEEE operations: the C library's differs between machines."""
    if x > 0.5:
        return -_cosine_of_pi_times(1.0 - x)
    is_near = x <= 0.25
    angle = 3.141592653589793 * (x if is_near else 0.5 - x)
    term = total = 1.0 if is_near else angle
    for n in range(2 if is_near else 3, 24, 2):  # Taylor: below pi / 4 less than half a last place is left
        term *= -angle * angle / (n * (n - 1))
        total += term
    return total
