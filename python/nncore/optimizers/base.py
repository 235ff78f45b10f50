"""The base class of optimizers. The core does the arithmetic and keeps the slots and the step count; an
optimizer here holds the hyperparameters, and one state for each parameter store that it has updated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias
from weakref import WeakKeyDictionary

from .. import _core
from .._errors import check_list, check_number, check_subclass, described
from ..schedules import Schedule
from . import saving
from .trained import Store, Trained

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Optimizer"]

Transform: TypeAlias = "_core.Transform | Callable[[NDArray[Any]], None]"
Factors: TypeAlias = tuple[float, float]  # of the learning rate and of the weight decay


class Optimizer:
    """Base class of optimizers. `learning_rate` may be set between steps; `step(model)` makes one update.

    Parameters
    ----------
    schedule : callable, optional
        A function from the number of steps made so far to the factor by which the next step multiplies the
        learning rate, or to a dict of factors for "learning_rate" and "weight_decay". See
        nncore.cosine_decay.
    transforms : iterable, optional
        Applied in order, between the gradients and the update of each step: nncore.clip_by_global_norm,
        nncore.clip_by_value, and functions that modify the flat gradients in place (one call a step).
        nncore.moving_average tracks the parameters after each update.

    Examples
    --------
    >>> import nncore as nc
    >>> optimizer = nc.Adam(1e-3, schedule=nc.cosine_decay(10_000))
    >>> optimizer.transforms = [nc.clip_by_global_norm(1.0)]
    """

    kind: ClassVar[str]  # the core's name of the rule: "sgd", "adam", ...

    def __init__(
        self, *, schedule: Schedule | None = None, transforms: Iterable[Transform] = (), **settings: float
    ) -> None:
        check_subclass(self, "nncore.Adam")
        self.core = _core.Optimizer(self.kind, **settings)
        self.schedule = schedule
        self.transforms = transforms
        self._states: WeakKeyDictionary[Store, _core.OptimizerState_float32] = WeakKeyDictionary()

    @property
    def learning_rate(self) -> float:
        """The learning rate of all later steps, before the schedule's factor."""
        return self.core.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.core.learning_rate = value

    @property
    def schedule(self) -> Schedule | None:
        """A function from the number of steps made to a factor of the learning rate, or None."""
        return self._schedule

    @schedule.setter
    def schedule(self, given: Schedule | None) -> None:
        if given is not None and (not callable(given) or isinstance(given, type)):
            raise TypeError(f"schedule must be a function of the number of steps; got {described(given)}")
        self._schedule = given

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """The transforms of all later steps."""
        return self._transforms

    @transforms.setter
    def transforms(self, given: Iterable[Transform]) -> None:
        transforms = tuple(check_list(given, "transforms", "transforms"))
        self.core.set_transforms(transforms)
        self._transforms = transforms

    @property
    def settings(self) -> dict[str, float]:
        """The current hyperparameters, by name."""
        return self.core.settings

    def changes_to(self, settings: Mapping[str, float]) -> list[_core._Change]:
        """Calls that adopt other values of the hyperparameters, for `_core.call_together`."""
        if not isinstance(settings, Mapping):
            raise TypeError(f"settings must be a dict; got {described(settings)}")
        core = _core.Optimizer(self.kind, **settings)
        core.set_transforms(self._transforms)
        return [partial(setattr, self, "core", core)]

    def factors(self, step: int) -> Factors | None:
        """The factors of learning rate and weight decay after `step` steps; None without a schedule."""
        if self._schedule is None:
            return None
        given = self._schedule(step)
        if not isinstance(given, Mapping):
            return check_number(given, "the value of schedule"), 1.0
        if unknown := set(given) - {"learning_rate", "weight_decay"}:
            raise ValueError(
                f"schedule must return a number, or a dict of learning_rate and weight_decay; got {unknown}"
            )
        first, second = (given.get(name, 1.0) for name in ("learning_rate", "weight_decay"))
        what = "the value of schedule"
        return check_number(first, what), check_number(second, what)

    def factor_runs(self, first: int, count: int) -> list[tuple[int, float, float]] | None:
        """The factors of `count` steps after `first` steps, run-length encoded; None without a schedule."""
        if self._schedule is None:
            return None
        all_factors = (self.factors(step) for step in range(first, first + count))
        return [(len(list(run)), *factors) for factors, run in itertools.groupby(all_factors) if factors]

    def step(self, model: Trained) -> None:
        """Updates the model's trainable parameters once, from `model.gradients`.

        >>> import nncore as nc
        >>> model, optimizer = nc.mlp([2, 1], seed=0), nc.SGD(0.5)
        >>> before = model.parameters.copy()
        >>> model.gradients[:] = 1
        >>> optimizer.step(model)
        >>> bool((model.parameters == before - 0.5).all())
        True
        """
        try:
            state, network = self.state(model.store), model.network
        except (AttributeError, TypeError):
            if hasattr(model, "network") and not isinstance(model, type):
                raise
            raise TypeError(f"model must be a Model; got {described(model)}") from None
        network.update(self.core, state, self.factors(state.steps))

    @contextmanager
    def averaged(self, model: Trained) -> Iterator[None]:
        """A context in which the model's trainable parameters are their moving averages. Leaving the context
        restores the parameters.

        Raises ValueError unless nncore.moving_average is among the transforms, and RuntimeError while
        another call trains the model.

        >>> import nncore as nc
        >>> model = nc.mlp([1, 1], seed=0)
        >>> optimizer = nc.SGD(0.1, transforms=[nc.moving_average(0.9)])
        >>> trainer = nc.Trainer(model, "half_squared_error", optimizer)
        >>> history = trainer.fit([[0.0], [1.0]], [1.0, 3.0], epochs=5, progress=False)
        >>> with optimizer.averaged(model):
        ...     prediction = model.predict([[1.0]])
        """
        if not hasattr(model, "network"):
            raise TypeError(f"model must be a Model; got {described(model)}")
        store = model.store
        state = self.state(store)
        state.prepare_slots(self.core, store.core)
        average = state.slots.get("average")
        if average is None:
            raise ValueError("transforms must include nncore.moving_average; got none")
        segments = store.core.segments
        trainable = {name: index for name, index in model.segments.items() if segments[index].trainable}
        views = store.split(store.core.values, trainable)
        before = {name: view.copy() for name, view in views.items()}
        del views
        store.replace(store.split(average, trainable), trainable)
        try:
            yield
        finally:
            store.replace(before, trainable)

    def state(self, store: Store) -> _core.OptimizerState_float32:
        """The state for a model's store: `steps`, and `slots`, a dict from names to writable flat views."""
        try:
            state = self._states.get(store)
        except TypeError:  # an object without weak references
            state = None
        if state is None:
            if not hasattr(store, "precision") or isinstance(store, type):
                raise TypeError(f"store must be the store of a model; got {described(store)}")
            state = store.precision.optimizer_state(self.core, store.core)
            self._states[store] = state
        return state

    def __getstate__(self) -> dict[str, Any]:
        """The state for pickles and deep copies, with the stores, which models in the same pickle share.

        Raises RuntimeError while another call trains.
        """
        others = {name: value for name, value in vars(self).items() if name not in ("core", "_states")}
        kept = []
        for store, state in list(self._states.items()):
            with store.core.copying():
                kept.append((store, state.steps, {name: view.copy() for name, view in state.slots.items()}))
        return {**others, "settings": self.settings, "states": kept}

    def __setstate__(self, given: dict[str, Any]) -> None:
        settings, kept = given.pop("settings"), given.pop("states")
        vars(self).update(given)
        _core.call_together(self.changes_to(settings))
        self._states = WeakKeyDictionary()
        for store, steps, slots in kept:
            state = self.state(store)
            if slots.keys() != state.slots.keys():  # slots of transforms
                state.prepare_slots(self.core, store.core)
            for name, view in state.slots.items():
                view[...] = slots[name]
            state.steps = steps

    def restore(self, path: str | PathLike[str], model: Trained) -> None:
        """Restores the optimizer from a file that a trainer or `Model.save(path, optimizer=...)` wrote.

        Restores the hyperparameters, the number of steps, the slots for the model, and the model's position
        in its dropout sequence. Does not change the model's parameters: nncore.load reads them from the same
        file. Raises ValueError if the file does not fit, naming the difference and changing nothing;
        RuntimeError while another call trains the model; and OSError like nncore.load.

        >>> import nncore as nc, os, tempfile
        >>> model, optimizer = nc.mlp([2, 1], seed=0), nc.Adam(0.5)
        >>> loss = model.loss_and_gradients([[1.0, 2.0]], [3.0], "half_squared_error")
        >>> optimizer.step(model)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "run.safetensors")
        ...     model.save(path, optimizer=optimizer)
        ...     other_model, other = nc.load(path), nc.Adam()
        ...     other.restore(path, other_model)
        >>> other.learning_rate, other.state(other_model.store).steps
        (0.5, 1)
        """
        from .._safetensors import explaining, read

        if not hasattr(model, "segments"):
            raise TypeError(f"model must be a Model; got {type(model).__name__}")
        fields, tensors = read(path)
        with explaining(path, fields):
            checkpoint = fields.get("checkpoint")
            if not isinstance(checkpoint, dict):
                raise ValueError("the file must hold an optimizer; got only a model")
            moment = saving.checked(self, model, checkpoint, tensors, "the program's")
        with model.store.core.changing():
            _core.call_together(saving.changes_to(moment, self, model))

    def __repr__(self) -> str:
        entry = next(entry for entry in _core.entries["optimizers"] if entry["name"] == self.kind)
        defaults = {parameter["name"]: parameter["default"] for parameter in entry["parameters"]}
        shown = [
            f"{name}={value:g}" if type(value) is float else f"{name}={value}"
            for name, value in self.settings.items()
            if name == "learning_rate" or value != defaults[name]
        ]
        return f"{type(self).__name__}({', '.join(shown)})"
