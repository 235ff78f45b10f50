"""Saving an optimizer to a file: its hyperparameters, the number of steps, and its slots for a model.

The arrays have names such as "optimizer.steps" and "optimizer.first_moment.0.weight"; everything else is in
the file's field "checkpoint".
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
    """The part of an optimizer that this module uses."""

    core: _core.Optimizer

    @property
    def kind(self) -> str:
        """The core's name of the rule."""

    @property
    def transforms(self) -> tuple[object, ...]:
        """The transforms of each step."""

    @property
    def settings(self) -> dict[str, float]:
        """The current hyperparameters, by name."""

    def changes_to(self, settings: Mapping[str, float]) -> list[_core._Change]:
        """Calls that adopt other values of the hyperparameters."""

    def state(self, store: Store) -> _core.OptimizerState_float32:
        """The state for a store."""


class Moment(NamedTuple):
    """A snapshot of an optimizer's settings and state for one model, and of the store's random step."""

    settings: dict[str, float]
    steps: int
    random_step: int
    slots: dict[str, NDArray[Any]]  # the slots for the model's arrays, by their names in a file


def moment_of(optimizer: Saved, model: Trained) -> Moment:
    """The current snapshot; its arrays are copies."""
    steps = optimizer.state(model.store).steps
    slots = {name: np.array(view, order="C") for name, view in _slots_now(optimizer, model).items()}
    return Moment(optimizer.settings, steps, model.store.core.random_step, slots)


def changes_to(moment: Moment, optimizer: Saved, model: Trained) -> list[_core._Change]:
    """Calls that restore a checked snapshot, for `_core.call_together` while no other call uses the store."""
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
    """The fields and arrays to write to a file."""
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
    """The snapshot in a file. Raises ValueError if it does not fit, or KeyError if something is missing.

    `whose` says in messages whose optimizer the file must fit.
    """
    if fields["optimizer"] != optimizer.kind:
        raise ValueError(f"optimizer must be {optimizer.kind}, {whose}; got {fields['optimizer']}")
    settings, steps = fields["settings"], tensors[_STEPS]
    if not isinstance(settings, dict) or settings.keys() != optimizer.settings.keys():
        raise ValueError(
            f"settings must be {sorted(optimizer.settings)}, as {whose} optimizer has; got {sorted(settings)}"
        )
    _core.Optimizer(optimizer.kind, **settings)  # raises for values out of range
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
    """Raises ValueError if a file's arrays differ from `views` in shape or dtype."""
    for name, view in views.items():
        if tensors[name].shape != view.shape or tensors[name].dtype != view.dtype:
            raise ValueError(
                f"{name} must be {view.dtype} {view.shape}, as {whose}; "
                f"got {tensors[name].dtype} {tensors[name].shape}"
            )


def _slots_now(optimizer: Saved, model: Trained) -> dict[str, NDArray[Any]]:
    """The slots for the model's arrays, by their names in a file. For transforms that have made no step yet,
    these are the values that the next step would start from.
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
