"""Optimizers: how gradients change parameters. The arithmetic, the moments and the count of steps are the
core's; an optimizer here holds the settings, and a state for every store that it has worked on.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from . import _core
from .registry import optimizers

if TYPE_CHECKING:
    from .model import Model
    from .store import Store


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

    def step(self, model: Model) -> None:
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


@optimizers.row("sgd")
class SGD(Optimizer):
    """Gradient descent, p -= learning_rate g; with momentum m = momentum m + g, p -= learning_rate m; or
    Nesterov's, p -= learning_rate (g + momentum m). Raises ValueError for settings out of range.
    """

    def __init__(self, learning_rate: float = 1e-2, momentum: float = 0.0, nesterov: bool = False) -> None:
        if nesterov and momentum == 0.0:
            raise ValueError("nesterov needs a momentum above 0; given 0")
        if momentum == 0.0:
            super().__init__("sgd", learning_rate=learning_rate)
        else:
            kind = "nesterov" if nesterov else "momentum"
            super().__init__(kind, learning_rate=learning_rate, momentum=momentum)


optimizers.add("momentum", partial(SGD, momentum=0.9))
optimizers.add("nesterov", partial(SGD, momentum=0.9, nesterov=True))


@optimizers.row("adam")
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), with bias correction; epsilon is added to the root.
    Raises ValueError for settings out of range.
    """

    def __init__(
        self, learning_rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        super().__init__("adam", learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


@optimizers.row("adamw")
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), p -= learning_rate weight_decay p, on
    weights but not on biases. Raises ValueError for settings out of range.
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(
            "adamw",
            learning_rate=learning_rate,
            beta1=beta1,
            beta2=beta2,
            epsilon=epsilon,
            weight_decay=weight_decay,
        )


def as_optimizer(given: str | Optimizer) -> Optimizer:
    """An optimizer from its name, with its default settings, or an instance."""
    if isinstance(given, str):
        return optimizers[given]()
    if not isinstance(given, Optimizer):
        raise TypeError(f"optimizer must be a name or an Optimizer; given {type(given).__name__}")
    return given
