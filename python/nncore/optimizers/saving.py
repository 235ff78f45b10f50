"""What a file keeps of an optimizer: its hyperparameters, the steps made, and its slots for a model's arrays.

The arrays are named "optimizer.steps" and "optimizer.first_moment.0.weight"; the rest is the file's field
"checkpoint".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from operator import setitem
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from .. import _core
from .._errors import as_seed
from .trained import Store, Trained

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PREFIX = "optimizer."
_STEPS = "optimizer.steps"


class Saved(Protocol):
    """What is asked of an optimizer."""

    core: _core.Optimizer

    @property
    def kind(self) -> str:
        """The core's name of what it does."""

    @property
    def transforms(self) -> tuple[object, ...]:
        """What stands between gradients and updates."""

    @property
    def settings(self) -> dict[str, float]:
        """All hyperparameters."""

    def changes_to(self, settings: Mapping[str, float]) -> list[_core._Change]:
        """What takes over hyperparameters."""

    def state(self, store: Store) -> _core.OptimizerState_float32:
        """What it remembers of a store."""


class Moment(NamedTuple):
    """An optimizer's settings, and what it and the store remember of the steps made on a model."""

    settings: dict[str, float]
    steps: int
    random_step: int
    slots: dict[str, NDArray[Any]]  # for the model's arrays, by the names that they have in a file


def moment_of(optimizer: Saved, model: Trained) -> Moment:
    """That of now; the arrays are copies."""
    steps = optimizer.state(model.store).steps
    slots = {name: np.array(view, order="C") for name, view in _slots_now(optimizer, model).items()}
    return Moment(optimizer.settings, steps, model.store.core.random_step, slots)


def changes_to(moment: Moment, optimizer: Saved, model: Trained) -> list[_core._Change]:
    """What brings back a moment that was checked, for `_core.call_together` while nobody uses the store."""
    state = optimizer.state(model.store)
    state.prepare_slots(optimizer.core, model.store.core)
    views = _named(state.slots, model)
    return [
        *(partial(setitem, view, ..., moment.slots[name]) for name, view in views.items()),
        partial(setattr, state, "steps", moment.steps),
        *optimizer.changes_to(moment.settings),
        partial(setattr, model.store.core, "random_step", moment.random_step),
    ]


def contents(optimizer: Saved, model: Trained) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The fields and arrays of a file."""
    moment = moment_of(optimizer, model)
    fields = {"optimizer": optimizer.kind, "settings": moment.settings, "random_step": moment.random_step}
    return fields, {_STEPS: np.array(moment.steps, np.int64), **moment.slots}


def checked(
    optimizer: Saved,
    model: Trained,
    fields: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
    whose: str,
) -> Moment:
    """The moment of a file; ValueError, or KeyError for what is missing, where it does not fit. `whose` the
    optimizer is that it should fit.
    """
    if fields["optimizer"] != optimizer.kind:
        raise ValueError(f"optimizer must be {optimizer.kind}, {whose}; got {fields['optimizer']}")
    settings, steps = fields["settings"], tensors[_STEPS]
    if not isinstance(settings, dict) or settings.keys() != optimizer.settings.keys():
        raise ValueError(
            f"settings must be {sorted(optimizer.settings)}, as {whose} optimizer has; got {sorted(settings)}"
        )
    _core.Optimizer(optimizer.kind, **settings)  # complains of values out of range
    if steps.shape != () or steps.dtype != np.int64 or steps < 0:
        raise ValueError(f"{_STEPS} must be one integer of at least 0; got {steps}")
    random_step = fields["random_step"]
    if type(random_step) is not int:
        raise ValueError(f"random_step must be an integer; got {random_step!r}")
    as_seed(random_step, "random_step")
    slots = _slots_now(optimizer, model)
    found = {name for name in tensors if name.startswith(_PREFIX) and name != _STEPS}
    if found != slots.keys():
        raise ValueError(
            f"the optimizer's slots must be {', '.join(sorted(slots)) or 'none'}; "
            f"got {', '.join(sorted(found)) or 'none'}"
        )
    check_arrays(tensors, slots, whose)
    return Moment(settings, int(steps), random_step, {name: tensors[name] for name in slots})


def check_arrays(tensors: Mapping[str, NDArray[Any]], views: Mapping[str, NDArray[Any]], whose: str) -> None:
    """ValueError where a file's arrays are not as those that are to take their values."""
    for name, view in views.items():
        if tensors[name].shape != view.shape or tensors[name].dtype != view.dtype:
            raise ValueError(
                f"{name} must be {view.dtype} {view.shape}, as {whose}; "
                f"got {tensors[name].dtype} {tensors[name].shape}"
            )


def _slots_now(optimizer: Saved, model: Trained) -> dict[str, NDArray[Any]]:
    """The slots for the model's arrays, by the names that they have in a file. Those of transforms that made
    no step yet are what the next step would begin with.
    """
    store = model.store
    slots = optimizer.state(store).slots
    if optimizer.transforms:
        fresh = store.precision.optimizer_state(optimizer.core, store.core)
        fresh.prepare_slots(optimizer.core, store.core)
        slots = fresh.slots | slots
    return _named(slots, model)


def _named(slots: Mapping[str, NDArray[Any]], model: Trained) -> dict[str, NDArray[Any]]:
    return {
        f"{_PREFIX}{slot}.{name}": view
        for slot, flat in slots.items()
        for name, view in model.store.split(flat, model.segments).items()
    }
