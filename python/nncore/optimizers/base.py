"""Optimizers: how gradients change parameters. The arithmetic, the slots and the count of steps are the
core's; an optimizer here holds the hyperparameters, and a state for every store that it has worked on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol
from weakref import WeakKeyDictionary

from .. import _core
from .._precision import Precision

__all__ = ["Optimizer"]


class Store(Protocol):
    """What an optimizer asks of a store of parameters."""

    @property
    def core(self) -> _core.Parameters_float32:
        """The parameters."""

    @property
    def precision(self) -> Precision:
        """The core's classes for their dtype."""


class Trained(Protocol):
    """What an optimizer asks of a model."""

    @property
    def network(self) -> _core.Network_float32:
        """The graph at work on the store."""

    @property
    def store(self) -> Store:
        """The model's parameters, and perhaps those of others."""


class Optimizer:
    """What all optimizers share: `learning_rate`, which may be set between steps, and `step(model)`."""

    kind: ClassVar[str]  # the core's name of what it does: "sgd", "adam", ...

    def __init__(self, **settings: float) -> None:
        self.core = _core.Optimizer(self.kind, **settings)
        self._states: WeakKeyDictionary[Store, _core.OptimizerState_float32] = WeakKeyDictionary()

    @property
    def learning_rate(self) -> float:
        """The learning rate, for every step from now on."""
        return self.core.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.core.learning_rate = value

    @property
    def settings(self) -> dict[str, float]:
        """All its hyperparameters by name, as they are now."""
        return self.core.settings

    def set(self, settings: Mapping[str, float]) -> None:
        """Takes over hyperparameters of the same names, as from a checkpoint."""
        self.core = _core.Optimizer(self.kind, **settings)

    def step(self, model: Trained) -> None:
        """One update of the model's trainable parameters from `model.gradients`.

        >>> import nncore as nc
        >>> model, optimizer = nc.mlp([2, 1], seed=0), nc.SGD(0.5)
        >>> before = model.parameters.copy()
        >>> model.gradients[:] = 1
        >>> optimizer.step(model)
        >>> bool((model.parameters == before - 0.5).all())
        True
        """
        model.network.update(self.core, self.state(model.store))

    def state(self, store: Store) -> _core.OptimizerState_float32:
        """What it remembers of a store: `steps`, and `slots`, a dict of writable flat views by name."""
        state = self._states.get(store)
        if state is None:
            state = self._states[store] = store.precision.optimizer_state(self.core, store.core)
        return state

    def __repr__(self) -> str:
        entry = next(entry for entry in _core.entries["optimizers"] if entry["name"] == self.kind)
        defaults = {parameter["name"]: parameter["default"] for parameter in entry["parameters"]}
        shown = [
            f"{name}={value:g}" if type(value) is float else f"{name}={value}"
            for name, value in self.settings.items()
            if name == "learning_rate" or value != defaults[name]
        ]
        return f"{type(self).__name__}({', '.join(shown)})"
