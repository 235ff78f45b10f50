"""Optimizers: how gradients change parameters. The arithmetic, the moments and the count of steps are the
core's; an optimizer here holds the settings, and a state for every store that it has worked on.
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

    kind: ClassVar[str]

    def __init__(self, kind: str, **settings: float) -> None:
        self.core = _core.Optimizer(kind, **settings)
        self._kind = kind
        self._settings = {name: float(value) for name, value in settings.items()}
        self._states: WeakKeyDictionary[Store, _core.OptimizerState_float32] = WeakKeyDictionary()

    @property
    def learning_rate(self) -> float:
        """The learning rate, for every step from now on."""
        return self.core.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.core.learning_rate = float(value)

    @property
    def name(self) -> str:
        """The core's name of what it does: "sgd", "momentum", "nesterov", "adam" or "adamw"."""
        return self._kind

    @property
    def settings(self) -> dict[str, float]:
        """All its numbers by name, as they are now."""
        return {**self._settings, "learning_rate": self.learning_rate}

    def set(self, settings: Mapping[str, float]) -> None:
        """Takes over settings of the same names, as from a checkpoint."""
        self.core = _core.Optimizer(self._kind, **settings)
        self._settings = dict(settings)

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
        """What it remembers of a store: `steps`, and the moments as writable flat views."""
        state = self._states.get(store)
        if state is None:
            state = self._states[store] = store.precision.optimizer_state(self._kind, store.core)
        return state

    def __repr__(self) -> str:
        settings = [f"{name}={value:g}" for name, value in self.settings.items()]
        settings += ["nesterov=True"] if self.name == "nesterov" else []
        return f"{type(self).__name__}({', '.join(settings)})"
